// FaultDisk: any disk, with faults on demand (rules: fault_rules.h).
//
//   operation ─▶ rule? ─▶ delay ─▶ hang ─▶ the disk below ─▶ flip, short, error ─▶ done
//
// Without rules it behaves as the disk below. A sync that fails here is final
// as the contract of disk.h says, also of the disks that it makes an exception for.
// Thread: any loop's; Set() any. Operations that hang must be let go (Set({}))
// before the disk is destroyed.
#pragma once

#include <atomic>
#include <vector>

#include "io/fault_rules.h"
#include "io/wrapped_disk.h"

namespace varve {

struct FaultyOperation;

class FaultDisk final : public WrappedDisk {
 public:
  using WrappedDisk::WrappedDisk;

  // Replaces the rules, in force for operations submitted from now on, and lets go of what hangs.
  void Set(std::vector<FaultRule> rules);

 private:
  friend struct FaultyOperation;

  void Begin(EventLoop& loop, const DiskRequest& request, Completion* done) override;
  void AfterDelay(FaultyOperation* operation);
  void Hold(FaultyOperation* operation);
  void Forward(FaultyOperation* operation);
  void End(FaultyOperation* operation, Status status);
  bool RefusesWrites(DiskOp op) const;

  FaultRules rules_;
  std::atomic<bool> sync_failed_{false};
  std::mutex mutex_;
  std::vector<FaultyOperation*> held_;  // by mutex_
};

}  // namespace varve
