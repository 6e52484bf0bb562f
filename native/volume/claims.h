// Claims: writes under way that will make sub-blocks valid which are not yet.
//
// While a slot is claimed, every such write of the slot shares one cluster however many race, no two touch the same
// sub-block (the second waits: its padding would overwrite the first's bytes), and the slot's address stays.
// Thread: under the volume's mutex.
#pragma once

#include <unordered_map>
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
  void Erase(SlotIndex slot) { claims_.erase(slot); }

 private:
  std::unordered_map<SlotIndex, Claim> claims_;
};

}  // namespace varve
