// Watches: slots whose cluster is being copied elsewhere, and who writes to them meanwhile.
//
// A copy is good as long as nobody wrote to its slot since before it began. So every write to a watched slot is noted when it is
// planned, in place or not; or, while the watch holds, waits until it ends.
// Thread: under the volume's mutex.
#pragma once

#include <unordered_map>
#include <utility>
#include <vector>

#include "base/units.h"

namespace varve {

class VolumeOp;

class WatchTable {
 public:
  // False when somebody watches the slot already.
  bool Begin(SlotIndex slot, bool holds) {
    return watches_.try_emplace(slot, Watch{holds, false, {}}).second;
  }
  // A write of the slot is about to be planned. False: `op` has to wait, and is among the waiters.
  bool MayWrite(SlotIndex slot, VolumeOp* op) {
    if (watches_.empty()) return true;
    auto found = watches_.find(slot);
    if (found == watches_.end()) return true;
    if (!found->second.holds) return true;
    found->second.waiters.push_back(op);
    return false;
  }
  // What the slot's cluster holds is changed, or about to be.
  void NoteWrite(SlotIndex slot) {
    if (watches_.empty()) return;
    auto found = watches_.find(slot);
    if (found != watches_.end()) found->second.written = true;
  }
  bool WasWritten(SlotIndex slot) const { return watches_.at(slot).written; }
  // Those who waited for its end are added to `resumed`.
  void End(SlotIndex slot, std::vector<VolumeOp*>* resumed) {
    auto found = watches_.find(slot);
    resumed->insert(resumed->end(), found->second.waiters.begin(), found->second.waiters.end());
    watches_.erase(found);
  }

 private:
  struct Watch {
    bool holds;
    bool written;
    std::vector<VolumeOp*> waiters;
  };
  std::unordered_map<SlotIndex, Watch> watches_;
};

}  // namespace varve
