#include "volume/zero_op.h"

#include <algorithm>
#include <array>

#include "volume/volume.h"

namespace varve {

namespace {

const std::array<std::byte, 65536> kZeroes{};  // an edge is shorter than the largest sub-block

// Slots looked at under one hold of the mutex: some tens of microseconds.
constexpr unsigned kSlotsPerStep = 1024;

// Owned zeroes of a slot of which `bits` are cleared: only where something would show from below.
SlotMask ZeroesAfter(const SlotView& view, SlotMask bits) { return (view.zero | bits) & view.below.mask(); }

uint64_t RoundDown(uint64_t value, uint64_t unit) { return value / unit * unit; }
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
  if (request().keeps_data) {
    cursor_ = RoundDown(start, volume().cluster_bytes());
    end_ = RoundUp(end, volume().cluster_bytes());
    return;
  }
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
  if (volume().read_only()) Note(Status(EPERM, "volume is read-only"));
  if (status().ok()) {
    std::lock_guard lock(volume().mutex());
    Outcome outcome = volume().MayChange(this) ? PlanAll() : Outcome::kParked;
    parked_ = outcome == Outcome::kParked || outcome == Outcome::kYield;
    if (outcome == Outcome::kYield) Resume();  // behind what the other requests of the loop have posted
    if (outcome == Outcome::kNoSpace) Note(NoSpace());
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
    const SlotView view = PageTable::View(*region, slot);
    if (request().no_hole) {
      if (ParkedBehindOthers(slot)) return Outcome::kParked;
      Outcome outcome = Provision(region, slot, view, 0);
      if (outcome != Outcome::kDone) return outcome;
    }
    edge->writes = ((view.own.mask() | view.inherited()) & bit) != 0;
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
    if (!request().no_hole && !PageTable::HasLeaf(*region, slot)) {
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
  if (ParkedBehindOthers(slot)) return Outcome::kParked;
  const SlotView view = PageTable::View(*region, slot);
  if (request().no_hole) return Provision(region, slot, view, request().keeps_data ? SlotMask{0} : bits);
  if (view.empty()) return Outcome::kDone;
  const SlotMask left = view.own.mask() & static_cast<SlotMask>(~bits);
  const SlotMask zero = ZeroesAfter(view, bits);
  const bool has_place = !view.own.address().none();
  const bool gives_up = has_place && left == 0 && (view.own.mask() != 0 || bits == kFullMask);
  if (!gives_up && left == view.own.mask() && zero == view.zero) return Outcome::kDone;
  if (!ReserveEntry()) return Outcome::kParked;
  if (gives_up) {
    volume().ChangeSlot(region, slot, SlotState{}, zero, view.own.address());
  } else {
    volume().ChangeSlot(region, slot, SlotState::Of(view.own.address(), left), zero, Address{});
  }
  return Outcome::kDone;
}

// Whoever changes the slot now decides its address: wait, then change what is valid then.
bool ZeroOp::ParkedBehindOthers(SlotIndex slot) {
  ClaimTable& claims = volume().claims();
  SlotLock* lock = claims.FindLock(slot);
  Claim* claim = claims.Find(slot);
  if (lock != nullptr) {
    lock->waiters.push_back(this);
  } else if (claim != nullptr) {
    claim->waiters.push_back(this);
  }
  return lock != nullptr || claim != nullptr;
}

// The slot keeps or gets a cluster, and `bits` of it are not valid.
ZeroOp::Outcome ZeroOp::Provision(Region* region, SlotIndex slot, const SlotView& view, SlotMask bits) {
  const SlotMask left = view.own.mask() & static_cast<SlotMask>(~bits);
  const SlotMask zero = ZeroesAfter(view, bits);
  Address address = view.own.address();
  if (!address.none() && left == view.own.mask() && zero == view.zero) return Outcome::kDone;
  if (!ReserveEntry()) return Outcome::kParked;
  if (address.none()) {
    GrantOutcome outcome = volume().TakeCluster(&address, this);
    if (outcome != GrantOutcome::kTaken) {
      volume().pool().journal().Forfeit(1);
      return outcome == GrantOutcome::kWait ? Outcome::kParked : Outcome::kNoSpace;
    }
  }
  volume().ChangeSlot(region, slot, SlotState::Of(address, left), zero, Address{});
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
    edge->write = {};
    edge->write.op = BlockOp::kWrite;
    edge->write.internal = true;
    edge->write.holder = request().holder;
    edge->write.offset = edge->at;
    edge->write.length = edge->length;
    edge->write.data = const_cast<std::byte*>(kZeroes.data());
    edge->write.loop = &loop();
    edge->write.done = edge;
    in_flight_++;
    volume().Submit(&edge->write);
  }
}

void ZeroOp::Edge::OnZeroed(Completion* self, Status status) {
  Edge* edge = static_cast<Edge*>(self);
  ZeroOp* op = edge->op;
  op->Note(status);
  op->in_flight_--;
  op->MaybeDone();
}

void ZeroOp::MaybeDone() {
  if (parked_ || in_flight_ != 0) return Withdraw();
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
