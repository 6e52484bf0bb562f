// Claims and locks: who is about to change which slots.
//
//   claim   writes under way that will make sub-blocks of one slot valid which are not yet
//   lock    the control plane has slots to itself: it moves what they point to, or moves old content out of their way
//
// While a slot is claimed, every such write of the slot shares one cluster however many race, no two touch the same
// sub-block (the second waits: its padding would overwrite the first's bytes), and the slot's address stays.
// A lock keeps new claims and trims off its slots from the moment it is asked for; it is held once the claims there have ended.
// Thread: under the volume's mutex.
#pragma once

#include <algorithm>
#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/units.h"

namespace varve {

class VolumeOp;

struct Claim {
  Address address;
  SlotMask busy = 0;     // sub-blocks being written
  uint32_t writes = 0;   // under way
  bool fresh = false;    // the cluster came from the grant and no slot owns it yet
  std::vector<VolumeOp*> waiters;
};

struct SlotLock {
  SlotIndex first = 0;
  uint64_t count = 0;
  VolumeOp* taker = nullptr;    // waits until the claims have ended
  std::vector<VolumeOp*> waiters;

  bool Covers(SlotIndex slot) const { return slot >= first && slot - first < count; }
  bool Meets(SlotIndex other, uint64_t other_count) const {
    return first < other + other_count && other < first + count;
  }
};

class ClaimTable {
 public:
  Claim* Find(SlotIndex slot) {
    if (claims_.empty()) return nullptr;
    auto found = claims_.find(slot);
    return found == claims_.end() ? nullptr : &found->second;
  }
  Claim* Make(SlotIndex slot, Address address, bool fresh) {
    Claim& claim = claims_[slot];
    claim.address = address;
    claim.fresh = fresh;
    return &claim;
  }
  // Ends a claim. Whoever waits to lock its slot is added to `resumed`, to look again.
  void Erase(SlotIndex slot, std::vector<VolumeOp*>* resumed) {
    claims_.erase(slot);
    SlotLock* lock = FindLock(slot);
    if (lock != nullptr && lock->taker != nullptr) resumed->push_back(std::exchange(lock->taker, nullptr));
  }
  bool AnyIn(SlotIndex first, uint64_t count) const {
    return std::any_of(claims_.begin(), claims_.end(),
                       [=](const auto& claim) { return claim.first >= first && claim.first - first < count; });
  }

  SlotLock* FindLock(SlotIndex slot) {
    for (SlotLock& lock : locks_) {
      if (lock.Covers(slot)) return &lock;
    }
    return nullptr;
  }
  bool AnyLockIn(SlotIndex first, uint64_t count) const {
    return std::any_of(locks_.begin(), locks_.end(), [=](const SlotLock& lock) { return lock.Meets(first, count); });
  }
  SlotLock* Lock(SlotIndex first, uint64_t count) {
    locks_.push_back({first, count, nullptr, {}});
    return &locks_.back();
  }
  // Returns those who waited for its end.
  std::vector<VolumeOp*> Unlock(SlotIndex first) {
    auto found = std::find_if(locks_.begin(), locks_.end(), [=](const SlotLock& lock) { return lock.first == first; });
    if (found == locks_.end()) return {};
    std::vector<VolumeOp*> waiters = std::move(found->waiters);
    locks_.erase(found);
    return waiters;
  }
  std::vector<VolumeOp*> UnlockAll() {
    std::vector<VolumeOp*> waiters;
    for (SlotLock& lock : locks_) waiters.insert(waiters.end(), lock.waiters.begin(), lock.waiters.end());
    locks_.clear();
    return waiters;
  }

 private:
  std::unordered_map<SlotIndex, Claim> claims_;
  std::list<SlotLock> locks_;  // a few at most
};

}  // namespace varve
