// LockOp: takes slots of one region for the control plane (claims.h), and reads the head's states of them.
//
// From the moment it is asked for nobody begins to change those slots; it is held when writes under way there have ended. Slots that
// wait for copy on write are not waited for, because that waits for the control plane: the lock is refused then (EBUSY).
#pragma once

#include <vector>

#include "base/units.h"
#include "volume/volume_op.h"

namespace varve {

// `done` gets EBUSY, or ok with the lock held until Volume::Unlock(first, …).
struct LockRequest : BlockRequest {
  SlotIndex first = 0;
  uint64_t count = 0;  // all in one region
  std::vector<SlotState> states;
  std::vector<SlotMask> zeros;
};

class LockOp : public VolumeOp {
 private:
  LockRequest& lock_request() { return static_cast<LockRequest&>(request()); }
  void Advance() override;
  void Recycle() override;
  enum class Outcome { kHeld, kParked, kRefused };
  Outcome Take();

  bool asked_ = false;
};

}  // namespace varve
