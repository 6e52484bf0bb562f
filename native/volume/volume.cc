#include "volume/volume.h"

#include <algorithm>
#include <utility>

#include "volume/flush_op.h"
#include "volume/lock_op.h"
#include "volume/read_op.h"
#include "volume/relocate_op.h"
#include "volume/status_op.h"
#include "volume/write_op.h"
#include "volume/zero_op.h"

namespace varve {

namespace {
// A volume takes this much of the grant at a time: 1 MiB at 64 KiB clusters keeps a stream in
// sequence on the disk while others write.
constexpr uint64_t kShareClusters = 16;
}  // namespace

Volume::Volume(Pool* pool, const VolumeSpec& spec, MapBudget* budget, VolumeObserver* observer)
    : pool_(pool),
      read_only_(spec.layer == 0),
      cluster_shift_(pool->cluster_shift()),
      budget_(budget),
      observer_(observer),
      size_bytes_(spec.size_bytes),
      copy_on_write_(spec.copy_on_write),
      layer_(spec.layer),
      table_(spec.empty),
      group_(spec.grant_group) {}

Volume::~Volume() {
  pool_->grants(group_).Return(share_);
  budget_->bytes.fetch_sub(tracked_bytes_);
}

VolumeOp* Volume::MakeOp(BlockOp op) {
  switch (op) {
    case BlockOp::kRead: return ObjectPool<ReadOp>::Take();
    case BlockOp::kWrite: return ObjectPool<WriteOp>::Take();
    case BlockOp::kTrim:
    case BlockOp::kWriteZeroes: return ObjectPool<ZeroOp>::Take();
    case BlockOp::kBlockStatus: return ObjectPool<StatusOp>::Take();
    case BlockOp::kFlush:
    case BlockOp::kCache: break;
  }
  return ObjectPool<FlushOp>::Take();
}

void Volume::Submit(BlockRequest* request) {
  if (budget_->bytes.load(std::memory_order_relaxed) > budget_->bytes_max) ShrinkTable();
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  MakeOp(request->op)->Start(this, request);
}

void Volume::Lock(LockRequest* request) {
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  ObjectPool<LockOp>::Take()->Start(this, request);
}

void Volume::Relocate(RelocateRequest* request) {
  in_flight_.fetch_add(1, std::memory_order_relaxed);
  ObjectPool<RelocateOp>::Take()->Start(this, request);
}

void Volume::OnOpEnd() {
  if (in_flight_.fetch_sub(1) == 1) std::exchange(closed_, nullptr)();
}

void Volume::Close(std::function<void()> done) {
  closed_ = std::move(done);
  OnOpEnd();
}

PageTable::Presence Volume::Find(uint64_t region, Region** out, VolumeOp* op) {
  PageTable::Presence presence = table_.Find(region, out);
  if (presence != PageTable::Presence::kUnknown) return presence;
  std::vector<VolumeOp*>& waiters = region_waiters_[region];
  waiters.push_back(op);
  if (waiters.size() == 1) observer_->OnRegionWanted(region);
  return presence;
}

void Volume::Install(uint64_t region, const RegionAnswer& answer) {
  std::vector<VolumeOp*> waiters;
  {
    std::lock_guard lock(mutex_);
    table_.Install(region, answer);
    TrackMapBytes();
    // Those who wait for a region now known to be empty are answered by the same call.
    for (auto at = region_waiters_.begin(); at != region_waiters_.end();) {
      bool known = at->first >= region && at->first <= std::max(region, answer.empty_through);
      if (known) {
        waiters.insert(waiters.end(), at->second.begin(), at->second.end());
        at = region_waiters_.erase(at);
      } else {
        ++at;
      }
    }
  }
  for (VolumeOp* op : waiters) op->Resume();
}

void Volume::RegionFailed(uint64_t region) {
  std::vector<VolumeOp*> waiters;
  {
    std::lock_guard lock(mutex_);
    auto found = region_waiters_.find(region);
    if (found == region_waiters_.end()) return;
    waiters = std::move(found->second);
    region_waiters_.erase(found);
  }
  for (VolumeOp* op : waiters) op->ResumeWith(Status(EIO, "map of the volume"));
}

GrantOutcome Volume::TakeCluster(Address* out, VolumeOp* op) {
  if (share_.count == 0) {
    GrantOutcome outcome = pool_->grants(group_).Take(kShareClusters, &share_, op);
    if (outcome != GrantOutcome::kTaken) return outcome;
  }
  *out = share_.Take();
  return GrantOutcome::kTaken;
}

GrantOutcome Volume::LookForCluster(VolumeOp* op) { return pool_->grants(group_).Look(op); }

void Volume::RecallHeld() {
  unsigned group;
  {
    std::lock_guard lock(mutex_);
    group = group_;
  }
  pool_->grants(group).Retry();
}

ClusterRun Volume::TakeBackOn(unsigned disk) {
  std::lock_guard lock(mutex_);
  return share_.disk == disk ? std::exchange(share_, {}) : ClusterRun{};
}

void Volume::SetGrantGroup(unsigned group) {
  ClusterRun share;
  unsigned old;
  {
    std::lock_guard lock(mutex_);
    old = std::exchange(group_, group);
    share = std::exchange(share_, {});
  }
  pool_->grants(old).Return(share);
  // Who waited there has to wait where it belongs now.
  pool_->grants(old).Retry();
}

void Volume::ChangeSlot(Region* region, SlotIndex slot, SlotState state, SlotMask zero, Address released) {
  uint64_t serial = pool_->journal().Append(Delta::Of(layer_, slot, state, zero, released));
  // The change becomes durable behind the disk's content, even when that is not new.
  if (!state.address().none()) NoteChangeOn(state.address().disk());
  table_.Set(region, slot, state, zero, serial);
  TrackMapBytes();
}

void Volume::Hold(std::function<void()> held) {
  {
    std::lock_guard lock(mutex_);
    held_ = true;
    if (writes_in_flight_ != 0) {
      when_held_ = std::move(held);
      return;
    }
  }
  held();
}

bool Volume::MayChange(VolumeOp* op) {
  if (!held_) return true;
  hold_waiters_.push_back(op);
  return false;
}

std::function<void()> Volume::EndWrite() {
  writes_in_flight_--;
  return writes_in_flight_ == 0 ? std::exchange(when_held_, nullptr) : nullptr;
}

void Volume::SwapHead(LayerId layer, bool inherit) {
  std::vector<VolumeOp*> waiters;
  {
    std::lock_guard lock(mutex_);
    layer_ = layer;
    if (inherit) {
      table_.TurnAll();
    } else {
      // What copy on write was asked for is no longer what the slots show.
      waiters = claims_.UnlockAll();
      table_.Forget();
      era_++;
    }
    TrackMapBytes();
  }
  for (VolumeOp* op : waiters) op->Resume();
}

void Volume::Unhold() {
  std::vector<VolumeOp*> waiters;
  {
    std::lock_guard lock(mutex_);
    held_ = false;
    waiters = std::exchange(hold_waiters_, {});
  }
  for (VolumeOp* op : waiters) op->Resume();
}

void Volume::AskCopyOnWrite(Region* region, SlotIndex slot, VolumeOp* op) {
  SlotLock* lock = claims_.Lock(slot, 1);
  lock->waiters.push_back(op);
  region->pins++;
  observer_->OnCowWanted(slot, PageTable::View(*region, slot).zero, era_);
}

void Volume::Unlock(SlotIndex first, uint64_t count, const std::vector<SlotPatch>& patches, bool forget_below) {
  std::vector<VolumeOp*> waiters;
  {
    std::lock_guard lock(mutex_);
    Region* region = PinnedRegion(first);
    for (const SlotPatch& patch : patches) {
      // Zeroes that need not be owned any more hide what the table still has below, until that is forgotten.
      const SlotMask hiding = forget_below ? PageTable::View(*region, patch.slot).zero : 0;
      table_.Set(region, patch.slot, patch.state, patch.zero | hiding, 0);
      table_.HideBelow(region, patch.slot);
      // More of the slot's own cluster may be valid than before.
      watches_.NoteWrite(patch.slot);
    }
    for (uint64_t i = 0; forget_below && i < count; i++) table_.ForgetBelow(region, first + i);
    TrackMapBytes();
    region->pins--;
    waiters = claims_.Unlock(first);
  }
  for (VolumeOp* op : waiters) op->Resume();
}

void Volume::FailLock(SlotIndex slot, Status status) {
  std::vector<VolumeOp*> waiters;
  {
    std::lock_guard lock(mutex_);
    PinnedRegion(slot)->pins--;
    waiters = claims_.Unlock(slot);
  }
  for (VolumeOp* op : waiters) op->ResumeWith(status);
}

void Volume::Repoint(const std::vector<SlotMove>& moves) {
  std::lock_guard lock(mutex_);
  for (const SlotMove& move : moves) {
    Region* region = nullptr;
    if (table_.Find(RegionOf(move.slot), &region) != PageTable::Presence::kPresent) continue;
    table_.Repoint(region, move.slot, move.from, move.to);
  }
}

Region* Volume::PinnedRegion(SlotIndex slot) {
  Region* region = nullptr;
  table_.Find(RegionOf(slot), &region);
  return region;
}

void Volume::TrackMapBytes() {
  uint64_t bytes = table_.bytes();
  if (bytes == tracked_bytes_) return;
  budget_->bytes.fetch_add(bytes - tracked_bytes_);
  tracked_bytes_ = bytes;
}

void Volume::ShrinkTable() {
  std::lock_guard lock(mutex_);
  Journal& journal = pool_->journal();
  HandedOver told;
  told.serial = journal.published_serial();
  told.sequence = journal.published_sequence();
  uint64_t held = budget_->bytes.load();
  uint64_t excess = held > budget_->bytes_max ? held - budget_->bytes_max : 0;
  table_.Evict(table_.bytes() - std::min(excess, table_.bytes()), told);
  TrackMapBytes();
}

uint64_t Volume::map_bytes() {
  std::lock_guard lock(mutex_);
  return table_.bytes();
}

}  // namespace varve
