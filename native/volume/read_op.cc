#include "volume/read_op.h"

#include <algorithm>

#include "volume/volume.h"

namespace varve {

void ReadOp::Advance() {
  if (volume().pool().fenced()) Note(Status(EIO, "pool is another's"));
  if (!status().ok()) return Finish(status());
  if (!Plan()) return Withdraw();  // until the map is there
  VolumeStats& stats = volume().mutable_stats();
  stats.reads.fetch_add(1, std::memory_order_relaxed);
  stats.read_bytes.fetch_add(request().length, std::memory_order_relaxed);
  if (segments_.empty()) return Finish(Status::Ok());
  in_flight_ = segments_.size();
  for (Segment& segment : segments_) {
    volume().pool().disk(segment.disk).Read(loop(), segment.offset, &segment.iov, 1, &segment);
  }
}

// Fills extents and segments. False: a region is missing; the operation is resumed when it came.
bool ReadOp::Plan() {
  request().extents.clear();
  segments_.clear();
  const unsigned shift = volume().cluster_shift();
  const uint64_t end = request().offset + request().length;
  std::lock_guard lock(volume().mutex());
  Region* region = nullptr;
  uint64_t region_end = 0;
  PageTable::Presence presence = PageTable::Presence::kUnknown;
  for (uint64_t at = request().offset; at < end;) {
    SlotIndex slot = at >> shift;
    if (at >= region_end) {
      presence = volume().Find(volume().RegionOf(slot), &region, this);
      if (presence == PageTable::Presence::kUnknown) return false;
      region_end = (volume().RegionOf(slot) + 1) * kSlotsPerRegion << shift;
    }
    uint64_t piece_end = presence == PageTable::Presence::kEmpty ? region_end : (slot + 1) << shift;
    uint64_t length = std::min(piece_end, end) - at;
    if (presence == PageTable::Presence::kEmpty) {
      AddZeroes(length);
    } else {
      PlanSlot(PageTable::View(*region, slot), at, length);
    }
    at += length;
  }
  return true;
}

// One slot's part of the request, cut where sub-blocks of one source end.
void ReadOp::PlanSlot(const SlotView& view, uint64_t at, uint64_t length) {
  const SlotMask data = view.own.mask() | view.inherited();
  if (data == 0) return AddZeroes(length);
  const unsigned shift = volume().sub_block_shift();
  uint64_t within = at & (volume().cluster_bytes() - 1);
  const uint64_t end = within + length;
  while (within < end) {
    const unsigned sub = static_cast<unsigned>(within >> shift);
    const Address source = view.Source(sub);
    unsigned past = sub + 1;
    while (past << shift < end && view.Source(past) == source) past++;
    const uint64_t run_end = std::min(end, static_cast<uint64_t>(past) << shift);
    const uint64_t bytes = run_end - within;
    if (source.none()) {
      AddZeroes(bytes);
    } else {
      AddData(source, within, at, bytes);
    }
    at += bytes;
    within = run_end;
  }
}

void ReadOp::AddZeroes(uint64_t length) {
  std::vector<Extent>& extents = request().extents;
  if (!extents.empty() && (extents.back().flags & kExtentZero)) {
    extents.back().length += length;
  } else {
    extents.push_back({length, kExtentZero | kExtentHole});
  }
}

void ReadOp::AddData(Address address, uint64_t within, uint64_t at, uint64_t length) {
  std::vector<Extent>& extents = request().extents;
  const uint64_t offset = (address.cluster() << volume().cluster_shift()) + within;
  if (!extents.empty() && extents.back().flags == 0) {
    extents.back().length += length;
    Segment& last = segments_.back();
    if (last.disk == address.disk() && last.offset + last.iov.iov_len == offset) {
      last.iov.iov_len += length;
      return;
    }
  } else {
    extents.push_back({length, 0});
  }
  segments_.emplace_back(this, address.disk(), offset, iovec{request().data + (at - request().offset), length});
}

void ReadOp::Segment::OnRead(Completion* self, Status status) {
  Segment* segment = static_cast<Segment*>(self);
  segment->op->OnSegmentEnd(*segment, status);
}

void ReadOp::OnSegmentEnd(const Segment& segment, Status io) {
  if (!io.ok()) Note(DiskError(segment.disk, io));
  if (--in_flight_ == 0) Finish(status());
}

void ReadOp::Recycle() {
  segments_.clear();
  ObjectPool<ReadOp>::Give(this);
}

}  // namespace varve
