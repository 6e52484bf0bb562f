#include "volume/zero_op.h"

#include <algorithm>
#include <array>

#include "volume/volume.h"

namespace varve {

namespace {

const std::array<std::byte, 65536> kZeroes{};  // an edge is shorter than the largest sub-block

// Slots looked at under one hold of the mutex: some tens of microseconds.
constexpr unsigned kSlotsPerStep = 1024;

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

// Splits the range into edges and whole sub-blocks.
void ZeroOp::Begin() {
  begun_ = true;
  const uint64_t sub = volume().sub_block_bytes();
  const uint64_t start = request().offset;
  const uint64_t end = start + request().length;
  // Nothing lies behind the volume's end: the last sub-block, the last cluster count as whole.
  const bool at_end = end == volume().size_bytes();
  const uint64_t whole_start = RoundUp(start, sub);
  const uint64_t whole_end = at_end ? RoundUp(end, volume().cluster_bytes()) : end / sub * sub;
  cursor_ = whole_start;
  end_ = std::max(whole_start, whole_end);
  if (request().op == BlockOp::kTrim) return;
  head_.at = start;
  head_.length = std::min(whole_start, end) - start;
  if (whole_end >= whole_start && whole_end < end) {
    tail_.at = whole_end;
    tail_.length = end - whole_end;
  }
}

void ZeroOp::Advance() {
  parked_ = false;
  if (!begun_) Begin();
  if (volume().pool().failed()) Note(Status(EIO, "pool has failed"));
  if (status().ok()) {
    std::lock_guard lock(volume().mutex());
    Outcome outcome = PlanAll();
    parked_ = outcome == Outcome::kParked || outcome == Outcome::kYield;
    if (outcome == Outcome::kYield) Resume();  // behind what the other requests of the loop have posted
    if (outcome == Outcome::kNoSpace) Note(Status(ENOSPC, "pool is full"));
    volume().NoteChange();
  }
  SubmitEdges();
  MaybeDone();
}

ZeroOp::Outcome ZeroOp::PlanAll() {
  Outcome outcome = PlanEdge(&head_);
  if (outcome == Outcome::kDone) outcome = PlanEdge(&tail_);
  if (outcome == Outcome::kDone) outcome = ClearMasks();
  return outcome;
}

ZeroOp::Outcome ZeroOp::PlanEdge(Edge* edge) {
  if (edge->planned || edge->length == 0) return Outcome::kDone;
  const SlotIndex slot = edge->at >> volume().cluster_shift();
  const uint64_t within = edge->at & (volume().cluster_bytes() - 1);
  const SlotMask bit = static_cast<SlotMask>(1u << (within >> volume().sub_block_shift()));
  Region* region = nullptr;
  PageTable::Presence presence = volume().Find(volume().RegionOf(slot), &region, this);
  if (presence == PageTable::Presence::kUnknown) return Outcome::kParked;
  if (presence == PageTable::Presence::kEmpty && request().no_hole) {
    region = volume().table().Materialize(volume().RegionOf(slot));
  }
  if (region != nullptr) {
    if (Claim* claim = volume().claims().Find(slot)) {
      claim->waiters.push_back(this);
      return Outcome::kParked;
    }
    SlotState state = PageTable::Get(*region, slot);
    if (request().no_hole) {
      Outcome outcome = Provision(region, slot, state, 0);
      if (outcome != Outcome::kDone) return outcome;
    }
    edge->writes = (state.mask() & bit) != 0;
    edge->disk = state.address().disk();
    edge->offset = (state.address().cluster() << volume().cluster_shift()) + within;
  }
  edge->planned = true;
  return Outcome::kDone;
}

ZeroOp::Outcome ZeroOp::ClearMasks() {
  const unsigned shift = volume().cluster_shift();
  const uint64_t region_bytes = uint64_t{kSlotsPerRegion} << shift;
  for (unsigned looked = 0; cursor_ < end_; looked++) {
    if (looked == kSlotsPerStep) return Outcome::kYield;
    const SlotIndex slot = cursor_ >> shift;
    const uint64_t index = volume().RegionOf(slot);
    Region* region = nullptr;
    PageTable::Presence presence = volume().Find(index, &region, this);
    if (presence == PageTable::Presence::kUnknown) return Outcome::kParked;
    if (presence == PageTable::Presence::kEmpty) {
      if (!request().no_hole) {
        cursor_ = volume().table().SkipEmpty(index, RoundUp(end_, region_bytes) / region_bytes) * region_bytes;
        continue;
      }
      region = volume().table().Materialize(index);
    }
    if (!request().no_hole && PageTable::LeafOf(*region, slot) == nullptr) {
      cursor_ = (slot / kSlotsPerLeaf + 1) * kSlotsPerLeaf << shift;
      continue;
    }
    const uint64_t slot_start = slot << shift;
    const unsigned first = static_cast<unsigned>((cursor_ - slot_start) >> volume().sub_block_shift());
    const uint64_t slot_end = std::min(end_, slot_start + volume().cluster_bytes());
    const unsigned past = static_cast<unsigned>((slot_end - slot_start) >> volume().sub_block_shift());
    Outcome outcome = ClearSlot(region, slot, static_cast<SlotMask>((1u << past) - (1u << first)));
    if (outcome != Outcome::kDone) return outcome;
    cursor_ = slot_end;
  }
  return Outcome::kDone;
}

// The sub-blocks of `bits` read as zero from here on.
ZeroOp::Outcome ZeroOp::ClearSlot(Region* region, SlotIndex slot, SlotMask bits) {
  SlotState state = PageTable::Get(*region, slot);
  // A write under way decides this slot's address: wait, then clear what it has made valid.
  if (Claim* claim = volume().claims().Find(slot)) {
    claim->waiters.push_back(this);
    return Outcome::kParked;
  }
  if (request().no_hole) return Provision(region, slot, state, bits);
  if (state.empty()) return Outcome::kDone;
  SlotMask left = state.mask() & static_cast<SlotMask>(~bits);
  bool gives_up = left == 0 && (state.mask() != 0 || bits == kFullMask);
  if (!gives_up && left == state.mask()) return Outcome::kDone;
  if (!ReserveEntry()) return Outcome::kParked;
  if (gives_up) {
    volume().ChangeSlot(region, slot, SlotState{}, state.address());
  } else {
    volume().ChangeSlot(region, slot, SlotState::Of(state.address(), left), Address{});
  }
  return Outcome::kDone;
}

// The slot keeps or gets a cluster, and `bits` of it are not valid.
ZeroOp::Outcome ZeroOp::Provision(Region* region, SlotIndex slot, SlotState state, SlotMask bits) {
  SlotMask left = state.mask() & static_cast<SlotMask>(~bits);
  if (!state.empty() && left == state.mask()) return Outcome::kDone;
  if (!ReserveEntry()) return Outcome::kParked;
  Address address = state.address();
  if (address.none()) {
    GrantOutcome outcome = volume().TakeCluster(&address, this);
    if (outcome != GrantOutcome::kTaken) {
      volume().pool().journal().Forfeit(1);
      return outcome == GrantOutcome::kWait ? Outcome::kParked : Outcome::kNoSpace;
    }
  }
  volume().ChangeSlot(region, slot, SlotState::Of(address, left), Address{});
  return Outcome::kDone;
}

bool ZeroOp::ReserveEntry() {
  if (volume().pool().journal().Reserve(1)) return true;
  volume().pool().WaitForRoom([this] { Resume(); });
  return false;
}

void ZeroOp::SubmitEdges() {
  for (Edge* edge : {&head_, &tail_}) {
    if (!edge->planned || !edge->writes) continue;
    edge->writes = false;
    edge->iov = {const_cast<std::byte*>(kZeroes.data()), edge->length};
    in_flight_++;
    volume().pool().disk(edge->disk).Write(loop(), edge->offset, &edge->iov, 1, edge);
  }
}

void ZeroOp::Edge::OnZeroed(Completion* self, Status io) {
  Edge* edge = static_cast<Edge*>(self);
  ZeroOp* op = edge->op;
  if (!io.ok()) op->Note(op->DiskError(edge->disk, io));
  op->volume().pool().journal().NoteWrite(edge->disk);
  {
    std::lock_guard lock(op->volume().mutex());
    op->volume().NoteChange();
  }
  op->in_flight_--;
  op->MaybeDone();
}

void ZeroOp::MaybeDone() {
  if (in_flight_ != 0) return;
  if (parked_) return Withdraw();
  if (status().ok()) {
    VolumeStats& stats = volume().mutable_stats();
    stats.discards.fetch_add(1, std::memory_order_relaxed);
    stats.discard_bytes.fetch_add(request().length, std::memory_order_relaxed);
    if (request().fua && durability_.Start(volume(), loop())) return Withdraw();
  }
  Finish(status());
}

void ZeroOp::Recycle() {
  begun_ = false;
  head_.length = tail_.length = 0;
  head_.planned = tail_.planned = false;
  head_.writes = tail_.writes = false;
  ObjectPool<ZeroOp>::Give(this);
}

}  // namespace varve
