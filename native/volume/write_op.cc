#include "volume/write_op.h"

#include <algorithm>
#include <array>
#include <utility>

#include "volume/volume.h"

namespace varve {

namespace {

// Padding is shorter than a sub-block, whose largest size is 64 KiB.
const std::array<std::byte, 65536> kZeroes{};

iovec ZeroesOf(uint32_t bytes) { return {const_cast<std::byte*>(kZeroes.data()), bytes}; }

// Sub-blocks that [within, within + length) reaches into.
SlotMask TouchedBy(uint64_t within, uint64_t length, unsigned sub_block_shift) {
  unsigned first = static_cast<unsigned>(within >> sub_block_shift);
  unsigned last = static_cast<unsigned>((within + length - 1) >> sub_block_shift);
  return static_cast<SlotMask>((2u << last) - (1u << first));
}

}  // namespace

void WriteOp::Advance() {
  parked_ = false;
  first_new_segment_ = segments_.size();
  first_new_fill_ = fills_.size();
  if (volume().pool().failed()) Note(Status(EIO, "pool has failed"));
  if (volume().read_only()) Note(Status(EPERM, "volume is read-only"));
  if (status().ok()) {
    std::lock_guard lock(volume().mutex());
    Outcome outcome = volume().MayChange(this) ? PlanAll() : Outcome::kParked;
    parked_ = outcome == Outcome::kParked;
    if (outcome == Outcome::kNoSpace) Note(NoSpace());
    volume().BeginWrites(segments_.size() - first_new_segment_);
  }
  SubmitNew();
  MaybeDone();
}

WriteOp::Outcome WriteOp::PlanAll() {
  const unsigned shift = volume().cluster_shift();
  while (cursor_ < request().length) {
    const uint64_t at = request().offset + cursor_;
    Piece piece;
    piece.slot = at >> shift;
    piece.within = at & (volume().cluster_bytes() - 1);
    piece.length = std::min(volume().cluster_bytes() - piece.within, request().length - cursor_);
    piece.touched = TouchedBy(piece.within, piece.length, volume().sub_block_shift());
    Outcome outcome = PlanPiece(&piece);
    if (outcome != Outcome::kPlanned) return outcome;
    AddPiece(piece, request().data + cursor_);
    cursor_ += piece.length;
  }
  return Outcome::kPlanned;
}

// Finds the piece's place; under the mutex.
WriteOp::Outcome WriteOp::PlanPiece(Piece* piece) {
  if (!volume().watches().MayWrite(piece->slot, this)) return Outcome::kParked;
  const uint64_t index = volume().RegionOf(piece->slot);
  PageTable::Presence presence = volume().Find(index, &piece->region, this);
  if (presence == PageTable::Presence::kUnknown) return Outcome::kParked;
  if (presence == PageTable::Presence::kEmpty) piece->region = volume().table().Materialize(index);
  const SlotView view = PageTable::View(*piece->region, piece->slot);
  if ((piece->touched & ~view.own.mask()) == 0) {
    piece->address = view.own.address();
    return Outcome::kPlanned;
  }
  return PlanClaim(piece, view);
}

WriteOp::Outcome WriteOp::PlanClaim(Piece* piece, const SlotView& view) {
  Claim* claim = nullptr;
  Outcome outcome = FindPlace(piece, view, &claim);
  if (outcome != Outcome::kPlanned) return outcome;
  claim->busy |= piece->touched;
  claim->writes++;
  piece->claims = true;
  piece->address = claim->address;
  piece->region->pins++;
  PlanPadding(piece, view);
  return Outcome::kPlanned;
}

// What is written around a piece, so that the sub-blocks it reaches into are whole.
void WriteOp::PlanPadding(Piece* piece, const SlotView& view) {
  const uint32_t sub = volume().sub_block_bytes();
  const uint64_t end = piece->within + piece->length;
  const unsigned first = static_cast<unsigned>(piece->within / sub);
  const unsigned last = static_cast<unsigned>((end - 1) / sub);
  const SlotMask missing = piece->touched & ~view.own.mask();
  if (missing >> first & 1) {
    piece->pad_before = static_cast<uint32_t>(piece->within % sub);
    piece->fill_before = view.Source(first);
  }
  if (missing >> last & 1) {
    piece->pad_after = static_cast<uint32_t>((sub - end % sub) % sub);
    piece->fill_after = view.Source(last);
  }
}

// The slot's claim: the one there is, or a new one on the slot's own cluster or a fresh one.
WriteOp::Outcome WriteOp::FindPlace(Piece* piece, const SlotView& view, Claim** claim) {
  ClaimTable& claims = volume().claims();
  if (SlotLock* lock = claims.FindLock(piece->slot)) {
    lock->waiters.push_back(this);
    return Outcome::kParked;
  }
  *claim = claims.Find(piece->slot);
  if (*claim != nullptr && ((*claim)->busy & piece->touched) != 0) {
    (*claim)->waiters.push_back(this);
    return Outcome::kParked;
  }
  const bool has_place = *claim != nullptr || !view.own.address().none();
  const bool inherits_one = view.inherited() != 0 && view.split == nullptr && view.below.address() != kDamagedAddress;
  if (volume().copy_on_write() && !has_place && inherits_one) {
    // It takes a cluster for the old content: without one the slot had better stay unlocked.
    const GrantOutcome outcome = volume().LookForCluster(this);
    if (outcome != GrantOutcome::kTaken) return OutcomeOf(outcome);
    volume().AskCopyOnWrite(piece->region, piece->slot, this);
    return Outcome::kParked;
  }
  if (!volume().pool().journal().Reserve(1)) {
    volume().pool().WaitForRoom([this] { Resume(); });
    return Outcome::kParked;
  }
  if (*claim != nullptr) return Outcome::kPlanned;
  if (has_place) {
    *claim = claims.Make(piece->slot, view.own.address(), false);
    return Outcome::kPlanned;
  }
  Address fresh;
  GrantOutcome outcome = volume().TakeCluster(&fresh, this);
  if (outcome != GrantOutcome::kTaken) {
    volume().pool().journal().Forfeit(1);
    return OutcomeOf(outcome);
  }
  *claim = claims.Make(piece->slot, fresh, true);
  return Outcome::kPlanned;
}

WriteOp::Outcome WriteOp::OutcomeOf(GrantOutcome outcome) {
  return outcome == GrantOutcome::kWait ? Outcome::kParked : Outcome::kNoSpace;
}

void WriteOp::AddPiece(const Piece& piece, std::byte* data) {
  volume().watches().NoteWrite(piece.slot);
  const uint64_t start = (piece.address.cluster() << volume().cluster_shift()) + piece.within - piece.pad_before;
  const uint64_t length = piece.pad_before + piece.length + piece.pad_after;
  // What an earlier Advance() planned is under way already and cannot grow.
  Segment* last = segments_.size() > first_new_segment_ ? &segments_.back() : nullptr;
  const bool joins = last != nullptr && last->disk == piece.address.disk() && last->offset + last->length == start &&
                     piece.pad_before == 0;
  if (!joins) {
    last = &segments_.emplace_back(this, pieces_.size());
    last->disk = piece.address.disk();
    last->offset = start;
    if (piece.pad_before != 0) {
      const uint64_t at = piece.within - piece.pad_before;
      last->iov[last->iov_count++] = Padding(last, piece.fill_before, at, piece.pad_before);
    }
    last->iov[last->iov_count++] = {data, 0};
  }
  last->iov[last->iov_count - 1].iov_len += piece.length;
  if (piece.pad_after != 0) {
    const uint64_t at = piece.within + piece.length;
    last->iov[last->iov_count++] = Padding(last, piece.fill_after, at, piece.pad_after);
  }
  last->length += length;
  last->piece_count++;
  pieces_.push_back(piece);
}

// Bytes to be written around a piece, from `within` its cluster on: zeroes, or what will have been read from below.
iovec WriteOp::Padding(Segment* segment, Address from, uint64_t within, uint32_t bytes) {
  if (from.none()) return ZeroesOf(bytes);
  const uint64_t offset = (from.cluster() << volume().cluster_shift()) + within;
  Fill& fill = fills_.emplace_back(segment, from, offset, std::vector<std::byte>(bytes));
  fill.iov = {fill.buffer.data(), bytes};
  segment->fills++;
  return fill.iov;
}

void WriteOp::SubmitNew() {
  in_flight_ += segments_.size() - first_new_segment_;
  for (size_t i = first_new_fill_; i < fills_.size(); i++) {
    Fill& fill = fills_[i];
    volume().pool().disk(fill.from.disk()).Read(loop(), fill.offset, &fill.iov, 1, &fill);
  }
  for (size_t i = first_new_segment_; i < segments_.size(); i++) {
    if (segments_[i].fills == 0) Write(&segments_[i]);
  }
}

void WriteOp::Write(Segment* segment) {
  volume().pool().disk(segment->disk).Write(loop(), segment->offset, segment->iov, segment->iov_count, segment);
}

void WriteOp::Fill::OnFilled(Completion* self, Status status) {
  Fill* fill = static_cast<Fill*>(self);
  fill->segment->op->OnFillEnd(fill, status);
}

void WriteOp::OnFillEnd(Fill* fill, Status io) {
  Segment* segment = fill->segment;
  if (!io.ok()) segment->fill_status = DiskError(fill->from.disk(), io);
  if (--segment->fills != 0) return;
  if (segment->fill_status.ok()) return Write(segment);
  Note(segment->fill_status);
  OnSegmentEnd(*segment, segment->fill_status);
}

void WriteOp::Segment::OnWritten(Completion* self, Status status) {
  Segment* segment = static_cast<Segment*>(self);
  if (!status.ok()) segment->op->Note(segment->op->DiskError(segment->disk, status));
  segment->op->OnSegmentEnd(*segment, status);
}

void WriteOp::OnSegmentEnd(const Segment& segment, Status io) {
  volume().pool().journal().NoteWrite(segment.disk);
  std::vector<VolumeOp*> waiters;
  std::function<void()> all_ended;
  {
    std::lock_guard lock(volume().mutex());
    for (size_t i = 0; i < segment.piece_count; i++) {
      const Piece& piece = pieces_[segment.first_piece + i];
      if (piece.claims) EndClaim(piece, io.ok(), &waiters);
    }
    volume().NoteChangeOn(segment.disk);
    all_ended = volume().EndWrite();
  }
  for (VolumeOp* op : waiters) op->Resume();
  if (all_ended) all_ended();
  in_flight_--;
  MaybeDone();
}

// The piece's data is written (or not): under the mutex, its sub-blocks become valid and the claim is given up.
void WriteOp::EndClaim(const Piece& piece, bool written, std::vector<VolumeOp*>* waiters) {
  Claim* claim = volume().claims().Find(piece.slot);
  claim->busy &= static_cast<SlotMask>(~piece.touched);
  claim->writes--;
  piece.region->pins--;
  if (written) {
    const SlotView view = PageTable::View(*piece.region, piece.slot);
    const SlotState state = SlotState::Of(claim->address, view.own.mask() | piece.touched);
    const SlotMask zero = view.zero & static_cast<SlotMask>(~piece.touched);
    volume().ChangeSlot(piece.region, piece.slot, state, zero, Address{});
    claim->fresh = false;
  } else {
    volume().pool().journal().Forfeit(1);
  }
  waiters->insert(waiters->end(), claim->waiters.begin(), claim->waiters.end());
  claim->waiters.clear();
  if (claim->writes != 0) return;
  if (claim->fresh) volume().ReturnCluster(claim->address);
  volume().claims().Erase(piece.slot, waiters);
}

void WriteOp::MaybeDone() {
  if (in_flight_ != 0) return;
  if (parked_) return Withdraw();
  if (status().ok() && request().internal) return Finish(Status::Ok());
  if (status().ok()) {
    VolumeStats& stats = volume().mutable_stats();
    stats.writes.fetch_add(1, std::memory_order_relaxed);
    stats.write_bytes.fetch_add(request().length, std::memory_order_relaxed);
    if (request().fua && durability_.Start(volume(), loop())) return Withdraw();
  }
  Finish(status());
}

void WriteOp::Recycle() {
  cursor_ = 0;
  pieces_.clear();
  segments_.clear();
  fills_.clear();
  ObjectPool<WriteOp>::Give(this);
}

}  // namespace varve
