#include "io/range_locks.h"

namespace varve {

bool RangeLocks::Acquire(Lock* lock) {
  lock->place = locks_.insert(locks_.end(), lock);
  lock->held = MayHold(lock->place);
  return lock->held;
}

bool RangeLocks::MayHold(Locks::iterator lock) const {
  for (auto before = locks_.begin(); before != Locks::const_iterator(lock); ++before) {
    if ((*before)->Overlaps(**lock)) return false;
  }
  return true;
}

}  // namespace varve
