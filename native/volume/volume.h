// Volume: a thin block device: the page table, and requests on it.
//
//   Submit → admitted → (waits for a region, a cluster, a claim, a lock, room in the pending log) → I/O → map change → done
//
// Invariants:
//   4. A reader sees only bytes of sub-blocks that the slot's masks claim, the head's or those below; the rest reads as zero.
//   7. Nothing but the head's own clusters is ever written to.
//   -  A slot changes only under the mutex, together with its delta: the journal's order is the map's order.
//   -  A write is answered after its data was written and its delta is in the pending log.
//   -  No I/O and no callback of another's under the mutex.
// While it is held no write is on its way to a disk and no slot changes: its head may be frozen then. Reads and flushes go on.
// Thread: Submit on the request's loop; the control plane's verbs on any.
// Elsewhere: each kind of request has its file (read_op, write_op, zero_op, status_op, flush_op, lock_op, relocate_op).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "volume/block_target.h"
#include "volume/claims.h"
#include "volume/grants.h"
#include "volume/page_table.h"
#include "volume/pool.h"
#include "volume/volume_op.h"
#include "volume/watches.h"

namespace varve {

struct LockRequest;
struct RelocateRequest;

class VolumeObserver {
 public:
  virtual ~VolumeObserver() = default;
  // The region's map is needed: answered by Install() or RegionFailed(). Any loop's thread.
  virtual void OnRegionWanted(uint64_t region) = 0;
  // A writer waits until the old content of the slot, which is locked, lies elsewhere: answered by Unlock() or FailLock().
  // zero: the head's zero mask of the slot, which has no cluster of the head.
  // era: how often the map was forgotten before; what was asked for in an earlier era is not to be answered.
  virtual void OnCowWanted(SlotIndex slot, SlotMask zero, uint64_t era) = 0;
};

struct VolumeSpec {
  LayerId layer = 0;  // the head; 0: nothing may be written
  uint64_t size_bytes = 0;
  bool empty = false;  // nothing was ever written to any layer of the chain, so no region will be asked for
  bool copy_on_write = false;
  unsigned grant_group = 0;  // where its new clusters come from
};

// A head's state of a slot whose map, the head's or that of a layer below, the control plane has changed, durably.
struct SlotPatch {
  SlotIndex slot;
  SlotState state;
  SlotMask zero;
};

// Reads of `slot` below the head go to another cluster from now on.
struct SlotMove {
  SlotIndex slot;
  Address from;
  Address to;
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
  Volume(Pool* pool, const VolumeSpec& spec, MapBudget* budget, VolumeObserver* observer);
  ~Volume() override;

  void Submit(BlockRequest* request) override;
  void RecallHeld() override;
  uint64_t size_bytes() const override { return size_bytes_.load(std::memory_order_relaxed); }
  uint32_t preferred_block_bytes() const override { return sub_block_bytes(); }

  void Resize(uint64_t size_bytes) { size_bytes_.store(size_bytes); }
  // Answers OnRegionWanted. What has come too late for a region is dropped, and asked for again by whoever waits.
  void Install(uint64_t region, const RegionAnswer& answer);
  void RegionFailed(uint64_t region);

  // Takes slots for the control plane, see lock_op.h. The request's loop.
  void Lock(LockRequest* request);
  // Moves slots of the head to other clusters, see relocate_op.h. The request's loop.
  void Relocate(RelocateRequest* request);
  // New writes and trims wait; `held` runs once, on any thread, when none is on its way to a disk.
  void Hold(std::function<void()> held);
  // While held: goes on with another, empty head. inherit: what the old one owned is below now; else the map is forgotten.
  void SwapHead(LayerId layer, bool inherit);
  void Unhold();
  // Where new clusters come from, from now on.
  void SetGrantGroup(unsigned group);
  void SetCopyOnWrite(bool on) { copy_on_write_.store(on); }
  // Ends a lock, of LockOp or of copy on write, that begins at `first`. forget_below: the head has no parent any more.
  void Unlock(SlotIndex first, uint64_t count, const std::vector<SlotPatch>& patches, bool forget_below);
  // Ends the lock of copy on write on a slot: its writers get the error.
  void FailLock(SlotIndex slot, Status status);
  void Repoint(const std::vector<SlotMove>& moves);
  // Takes away what the volume has of the grant on one disk and has not used; count 0: nothing.
  ClusterRun TakeBackOn(unsigned disk);
  // No more requests come. `done` runs once (on a loop) when those under way have ended.
  void Close(std::function<void()> done);

  const VolumeStats& stats() const { return stats_; }
  uint64_t map_bytes();

  // What follows is for the operations (VolumeOp and its kinds).
  Pool& pool() { return *pool_; }
  bool read_only() const { return read_only_; }
  bool copy_on_write() const { return copy_on_write_.load(std::memory_order_relaxed); }
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
  WatchTable& watches() { return watches_; }
  // Looks a region up; on kUnknown `op` is resumed when the answer came.
  PageTable::Presence Find(uint64_t region, Region** out, VolumeOp* op);
  // One free cluster; on kWait `op` is resumed when there may be one.
  GrantOutcome TakeCluster(Address* out, VolumeOp* op);
  // The same for an operation that the control plane takes one for; kTaken: there may be one.
  GrantOutcome LookForCluster(VolumeOp* op);
  void ReturnCluster(Address address) { pool_->grants(group_).Return({address.disk(), address.cluster(), 1}); }
  // Changes a slot and logs it, using one reserved entry of the pending log. released: the cluster given up, or none.
  void ChangeSlot(Region* region, SlotIndex slot, SlotState state, SlotMask zero, Address released);
  // False when the volume is held: `op`, which must have nothing on its way to a disk that it has not counted, is resumed after that.
  bool MayChange(VolumeOp* op);
  // So many writes to disks begin, or one has ended. Returns what to run, outside of the mutex, when the last one has.
  void BeginWrites(size_t count) { writes_in_flight_ += count; }
  std::function<void()> EndWrite();
  // Locks the slot, and has the control plane move its old content; `op` is resumed after that.
  void AskCopyOnWrite(Region* region, SlotIndex slot, VolumeOp* op);
  // Something was written or changed: FLUSH has to wait for the next round.
  void NoteChange() { dirty_round_ = pool_->journal().Stamp(); }
  // The same, and what changed lies on the disk, or depends on what does.
  void NoteChangeOn(unsigned disk) {
    NoteChange();
    disk_rounds_.Note(disk, dirty_round_);
  }
  uint64_t dirty_round() const { return dirty_round_; }
  // Any thread.
  const DiskRounds& disk_rounds() const { return disk_rounds_; }

  // The last thing an operation does to its volume. Its loop's thread.
  void OnOpEnd();

 private:
  VolumeOp* MakeOp(BlockOp op);
  // The region of a locked slot: its lock keeps it present.
  Region* PinnedRegion(SlotIndex slot);
  void ShrinkTable();
  void TrackMapBytes();

  Pool* const pool_;
  const bool read_only_;
  const unsigned cluster_shift_;
  MapBudget* const budget_;
  VolumeObserver* const observer_;
  std::atomic<uint64_t> size_bytes_;
  std::atomic<bool> copy_on_write_;
  VolumeStats stats_;

  std::mutex mutex_;
  LayerId layer_;
  PageTable table_;
  ClaimTable claims_;
  WatchTable watches_;
  unsigned group_;  // of the grant
  ClusterRun share_;
  uint64_t dirty_round_ = 0;
  DiskRounds disk_rounds_;
  uint64_t tracked_bytes_ = 0;
  std::unordered_map<uint64_t, std::vector<VolumeOp*>> region_waiters_;
  uint64_t era_ = 0;
  bool held_ = false;
  size_t writes_in_flight_ = 0;
  std::function<void()> when_held_;
  std::vector<VolumeOp*> hold_waiters_;

  std::atomic<uint64_t> in_flight_{1};  // one for being open
  std::function<void()> closed_;
};

}  // namespace varve
