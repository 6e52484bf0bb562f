#include "volume/lock_op.h"

#include "volume/volume.h"

namespace varve {

void LockOp::Advance() {
  Outcome outcome = Outcome::kRefused;
  std::vector<VolumeOp*> waiters;
  {
    std::lock_guard lock(volume().mutex());
    if (status().ok()) {
      outcome = Take();
      if (outcome == Outcome::kRefused) Note(Status(EBUSY, "slots wait for copy on write"));
    } else if (asked_) {
      waiters = volume().claims().Unlock(lock_request().first);
    }
  }
  for (VolumeOp* op : waiters) op->Resume();
  if (outcome == Outcome::kParked) return Withdraw();
  Finish(status());
}

LockOp::Outcome LockOp::Take() {
  LockRequest& wanted = lock_request();
  Region* region = nullptr;
  const uint64_t index = volume().RegionOf(wanted.first);
  PageTable::Presence presence = volume().Find(index, &region, this);
  if (presence == PageTable::Presence::kUnknown) return Outcome::kParked;
  if (presence == PageTable::Presence::kEmpty) region = volume().table().Materialize(index);
  ClaimTable& claims = volume().claims();
  if (!asked_) {
    if (claims.AnyLockIn(wanted.first, wanted.count)) return Outcome::kRefused;
    claims.Lock(wanted.first, wanted.count);
    asked_ = true;
  }
  if (claims.AnyIn(wanted.first, wanted.count)) {
    claims.FindLock(wanted.first)->taker = this;
    return Outcome::kParked;
  }
  region->pins++;
  for (SlotIndex slot = wanted.first; slot < wanted.first + wanted.count; slot++) {
    const SlotView view = PageTable::View(*region, slot);
    wanted.states.push_back(view.own);
    wanted.zeros.push_back(view.zero);
  }
  return Outcome::kHeld;
}

void LockOp::Recycle() {
  asked_ = false;
  ObjectPool<LockOp>::Give(this);
}

}  // namespace varve
