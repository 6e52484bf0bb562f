// RangeLocks: writers of ranges that overlap, one after the other, in the order of asking.
//
// A partial block is read, changed and written as a whole: whoever writes into it meanwhile would lose what they wrote.
// Thread: its owner's.
#pragma once

#include <cstdint>
#include <list>

namespace varve {

class RangeLocks {
 public:
  // Embedded in the one who writes; [first, end), not empty.
  struct Lock {
    uint64_t first = 0, end = 0;
    bool held = false;
    bool Overlaps(const Lock& other) const { return first < other.end && other.first < end; }
    std::list<Lock*>::iterator place{};
  };

  // True: held now. False: it waits, and Release() will hand it out.
  bool Acquire(Lock* lock);
  // Calls granted(lock) for each that is held from now on.
  template <typename Granted>
  void Release(Lock* lock, Granted granted) {
    auto next = locks_.erase(lock->place);
    lock->held = false;
    std::list<Lock*> now_held;
    for (; next != locks_.end(); ++next) {
      if ((*next)->held || !MayHold(next)) continue;
      (*next)->held = true;
      now_held.push_back(*next);
    }
    for (Lock* waiting : now_held) granted(waiting);
  }

 private:
  using Locks = std::list<Lock*>;
  // Nobody who came before overlaps, be it held or waiting.
  bool MayHold(Locks::iterator lock) const;

  Locks locks_;  // in the order of asking
};

}  // namespace varve
