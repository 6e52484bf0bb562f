#include "volume/status_op.h"

#include <algorithm>

#include "volume/volume.h"

namespace varve {

namespace {
// Present regions walked for one answer: under a millisecond, 16 GiB of a volume at 64 KiB clusters.
constexpr unsigned kRegionsPerAnswer = 64;
}  // namespace

void StatusOp::Advance() {
  if (!status().ok()) return Finish(status());
  if (!Walk()) return Withdraw();
  Finish(Status::Ok());
}

// Fills the extents. False: parked until the first region's map is there.
bool StatusOp::Walk() {
  request().extents.clear();
  const unsigned shift = volume().cluster_shift();
  const uint64_t end = request().offset + request().length;
  unsigned present = 0;
  std::lock_guard lock(volume().mutex());
  for (uint64_t at = request().offset; at < end && request().extents.size() <= request().extents_max;) {
    const SlotIndex slot = at >> shift;
    const uint64_t index = volume().RegionOf(slot);
    const uint64_t region_bytes = uint64_t{kSlotsPerRegion} << shift;
    Region* region = nullptr;
    PageTable::Presence presence = volume().table().Find(index, &region);
    if (presence == PageTable::Presence::kUnknown) {
      // What is known is an answer already; the client asks on from there.
      if (!request().extents.empty()) break;
      return volume().Find(index, &region, this) != PageTable::Presence::kUnknown;
    }
    if (presence == PageTable::Presence::kEmpty) {
      uint64_t skip_end = volume().table().SkipEmpty(index, (end + region_bytes - 1) / region_bytes) * region_bytes;
      Add(std::min(skip_end, end) - at, kExtentHole | kExtentZero);
      at = std::min(skip_end, end);
      continue;
    }
    if (present++ == kRegionsPerAnswer) break;
    const uint64_t region_end = std::min(end, (index + 1) * region_bytes);
    while (at < region_end) {
      const SlotIndex here = at >> shift;
      const bool no_leaf = !PageTable::HasLeaf(*region, here);
      const uint64_t next = no_leaf ? (here / kSlotsPerLeaf + 1) * kSlotsPerLeaf << shift : (here + 1) << shift;
      const uint64_t length = std::min(next, region_end) - at;
      if (no_leaf) {
        Add(length, kExtentHole | kExtentZero);
      } else {
        AddSlot(PageTable::View(*region, here), at & (volume().cluster_bytes() - 1), length);
      }
      at += length;
    }
  }
  if (request().extents.size() > request().extents_max) request().extents.resize(request().extents_max);
  return true;
}

void StatusOp::AddSlot(const SlotView& view, uint64_t within, uint64_t length) {
  if (view.empty()) return Add(length, kExtentHole | kExtentZero);
  const SlotMask data = view.own.mask() | view.inherited();
  const uint32_t nothing = view.own.address().none() ? kExtentHole | kExtentZero : kExtentZero;
  const uint64_t sub = volume().sub_block_bytes();
  for (const uint64_t end = within + length; within < end;) {
    const uint64_t run_end = std::min(end, (within / sub + 1) * sub);
    const bool valid = data >> (within / sub) & 1;
    Add(run_end - within, valid ? 0 : nothing);
    within = run_end;
  }
}

void StatusOp::Add(uint64_t length, uint32_t flags) {
  std::vector<Extent>& extents = request().extents;
  if (!extents.empty() && extents.back().flags == flags) {
    extents.back().length += length;
  } else {
    extents.push_back({length, flags});
  }
}

}  // namespace varve
