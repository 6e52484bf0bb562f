// Volume: a thin block device: the page table, and requests on it.
//
//   Submit → admitted → (waits for a region, a cluster, a claim, room in the pending log) → I/O → map change → done
//
// Invariants:
//   4. A reader sees only bytes of sub-blocks that the slot's mask claims; the rest reads as zero.
//   -  A slot changes only under the mutex, together with its delta: the journal's order is the map's order.
//   -  A write is answered after its data was written and its delta is in the pending log.
//   -  No I/O and no callback of another's under the mutex.
// Thread: Submit on the request's loop; Install, Resize, Close, stats on any.
// Elsewhere: each kind of request has its file (read_op, write_op, zero_op, status_op, flush_op).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "volume/block_target.h"
#include "volume/claims.h"
#include "volume/grants.h"
#include "volume/page_table.h"
#include "volume/pool.h"
#include "volume/volume_op.h"

namespace varve {

class VolumeObserver {
 public:
  virtual ~VolumeObserver() = default;
  // The region's map is needed: answered by Install() or RegionFailed(). Any loop's thread.
  virtual void OnRegionWanted(uint64_t region) = 0;
};

struct VolumeStats {
  std::atomic<uint64_t> reads{0}, writes{0}, flushes{0}, discards{0};
  std::atomic<uint64_t> read_bytes{0}, write_bytes{0}, discard_bytes{0}, errors{0};
};

// Memory that all page tables of the process may take together.
struct MapBudget {
  uint64_t bytes_max = 0;
  std::atomic<uint64_t> bytes{0};
};

class Volume : public BlockTarget {
 public:
  // empty: nothing was ever written to the layer, so no region will be asked for.
  Volume(Pool* pool, LayerId layer, uint64_t size_bytes, bool empty, MapBudget* budget, VolumeObserver* observer);
  ~Volume() override;

  void Submit(BlockRequest* request) override;
  uint64_t size_bytes() const override { return size_bytes_.load(std::memory_order_relaxed); }
  uint32_t preferred_block_bytes() const override { return sub_block_bytes(); }

  void Resize(uint64_t size_bytes) { size_bytes_.store(size_bytes); }
  // states: kSlotsPerRegion slots; regions (region, empty_through] hold nothing. sequence: of the newest record
  // that the answer reflects. What has come too late for a region is dropped, and asked for again by whoever waits.
  void Install(uint64_t region, const uint64_t* states, uint64_t empty_through, uint64_t sequence);
  void RegionFailed(uint64_t region);
  // No more requests come. `done` runs once (on a loop) when those under way have ended.
  void Close(std::function<void()> done);

  const VolumeStats& stats() const { return stats_; }
  uint64_t map_bytes();

  // What follows is for the operations (VolumeOp and its kinds).
  Pool& pool() { return *pool_; }
  LayerId layer() const { return layer_; }
  unsigned cluster_shift() const { return cluster_shift_; }
  uint64_t cluster_bytes() const { return uint64_t{1} << cluster_shift_; }
  unsigned sub_block_shift() const { return cluster_shift_ - 4; }
  uint32_t sub_block_bytes() const { return uint32_t{1} << sub_block_shift(); }
  uint64_t RegionOf(SlotIndex slot) const { return slot / kSlotsPerRegion; }
  VolumeStats& mutable_stats() { return stats_; }

  std::mutex& mutex() { return mutex_; }
  // Under the mutex.
  PageTable& table() { return table_; }
  ClaimTable& claims() { return claims_; }
  // Looks a region up; on kUnknown `op` is resumed when the answer came.
  PageTable::Presence Find(uint64_t region, Region** out, VolumeOp* op);
  // One free cluster; on kWait `op` is resumed when there may be one.
  GrantOutcome TakeCluster(Address* out, VolumeOp* op);
  void ReturnCluster(Address address) { pool_->grants().Return({address.disk(), address.cluster(), 1}); }
  // Changes a slot and logs it, using one reserved entry of the pending log. released: the cluster given up, or none.
  void ChangeSlot(Region* region, SlotIndex slot, SlotState state, Address released);
  // Something was written or changed: FLUSH has to wait for the next round.
  void NoteChange() { dirty_round_ = pool_->journal().Stamp(); }
  uint64_t dirty_round() const { return dirty_round_; }

  // The last thing an operation does to its volume. Its loop's thread.
  void OnOpEnd();

 private:
  VolumeOp* MakeOp(BlockOp op);
  void ShrinkTable();
  void TrackMapBytes();

  Pool* const pool_;
  const LayerId layer_;
  const unsigned cluster_shift_;
  MapBudget* const budget_;
  VolumeObserver* const observer_;
  std::atomic<uint64_t> size_bytes_;
  VolumeStats stats_;

  std::mutex mutex_;
  PageTable table_;
  ClaimTable claims_;
  ClusterRun share_;
  uint64_t dirty_round_ = 0;
  uint64_t tracked_bytes_ = 0;
  std::unordered_map<uint64_t, std::vector<VolumeOp*>> region_waiters_;

  std::atomic<uint64_t> in_flight_{1};  // one for being open
  std::function<void()> closed_;
};

}  // namespace varve
