#include "volume/volume.h"

#include <algorithm>
#include <utility>

#include "volume/flush_op.h"
#include "volume/read_op.h"
#include "volume/status_op.h"
#include "volume/write_op.h"
#include "volume/zero_op.h"

namespace varve {

namespace {
// A volume takes this much of the grant at a time: 1 MiB at 64 KiB clusters keeps a stream in
// sequence on the disk while others write.
constexpr uint64_t kShareClusters = 16;
}  // namespace

Volume::Volume(Pool* pool, LayerId layer, uint64_t size_bytes, bool empty, MapBudget* budget, VolumeObserver* observer)
    : pool_(pool),
      layer_(layer),
      cluster_shift_(pool->cluster_shift()),
      budget_(budget),
      observer_(observer),
      size_bytes_(size_bytes),
      table_(empty) {}

Volume::~Volume() {
  pool_->grants().Return(share_);
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

void Volume::Install(uint64_t region, const uint64_t* states, uint64_t empty_through, uint64_t sequence) {
  std::vector<VolumeOp*> waiters;
  {
    std::lock_guard lock(mutex_);
    table_.Install(region, states, empty_through, sequence);
    TrackMapBytes();
    // Those who wait for a region now known to be empty are answered by the same call.
    for (auto at = region_waiters_.begin(); at != region_waiters_.end();) {
      bool known = at->first >= region && at->first <= std::max(region, empty_through);
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
    GrantOutcome outcome = pool_->grants().Take(kShareClusters, &share_, [op] { op->Resume(); });
    if (outcome != GrantOutcome::kTaken) return outcome;
  }
  *out = share_.Take();
  return GrantOutcome::kTaken;
}

void Volume::ChangeSlot(Region* region, SlotIndex slot, SlotState state, Address released) {
  uint64_t serial = pool_->journal().Append({layer_, slot, state.bits, released.bits});
  table_.Set(region, slot, state, serial);
  TrackMapBytes();
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
