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

#include "io/disk.h"
#include "io/fault_rules.h"

namespace varve {

struct FaultyOperation;

class FaultDisk final : public Disk {
 public:
  explicit FaultDisk(std::shared_ptr<Disk> below) : below_(std::move(below)) {}

  // Replaces the rules, in force for operations submitted from now on, and lets go of what hangs.
  void Set(std::vector<FaultRule> rules);

  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Sync(EventLoop& loop, Completion* done) override;
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  uint64_t size_bytes() const override { return below_->size_bytes(); }
  void FindData(EventLoop& loop, DataSearch* search, Completion* done) override { below_->FindData(loop, search, done); }
  void WriteBack(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override {
    below_->WriteBack(loop, offset, bytes, done);
  }
  void Measure(EventLoop& loop, uint64_t* bytes, Completion* done) override { below_->Measure(loop, bytes, done); }
  bool keeps_unsynced() const override { return below_->keeps_unsynced(); }

 private:
  friend struct FaultyOperation;

  void Begin(FaultyOperation* operation);
  void AfterDelay(FaultyOperation* operation);
  void Hold(FaultyOperation* operation);
  void Forward(FaultyOperation* operation);
  void End(FaultyOperation* operation, Status status);
  bool RefusesWrites(FaultOp op) const;

  const std::shared_ptr<Disk> below_;
  FaultRules rules_;
  std::atomic<bool> sync_failed_{false};
  std::mutex mutex_;
  std::vector<FaultyOperation*> held_;  // by mutex_
};

}  // namespace varve
