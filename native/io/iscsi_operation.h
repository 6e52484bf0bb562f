// IscsiOperation: one operation of the disk's user, as one or more commands to the LUN.
//
// It may be run again from its beginning when its session was lost: every kind leaves the same behind when run twice.
// Thread: the disk's home loop, but for its making.
// Elsewhere: the kinds (iscsi_transfer.h, iscsi_provisioning.h), when it runs (iscsi_core.h).
#pragma once

#include <cstdint>

#include "io/range_locks.h"
#include "io/scsi_exchange.h"

namespace varve {

class IscsiCore;

class IscsiOperation {
 public:
  struct BlockLock : RangeLocks::Lock {
    IscsiOperation* operation = nullptr;
  };

  IscsiOperation(IscsiCore& core, EventLoop& origin, Completion* done);
  virtual ~IscsiOperation() = default;

  // Begins, from the start even when it was under way before.
  virtual void Run() = 0;
  // Whether it writes: then it holds lock() while it runs.
  virtual bool changes() const { return true; }
  BlockLock& lock() { return lock_; }

  // Its end, on the loop it came from.
  virtual void Report(Status status);

 protected:
  IscsiCore& core() { return core_; }
  void Send(const scsi::Cdb& cdb, libiscsi::Transfer transfer, iovec* iov, int iov_count, uint64_t bytes);
  // Its commands move blocks, all of which must be moved.
  void NeedsAll() { exchange_.NeedsAll(); }
  void Finish(Status status);

 private:
  struct Exchange : ScsiExchange {
    Exchange(EventLoop& loop, IscsiOperation* owner) : ScsiExchange(loop, OnAnswer), operation(owner) {}
    static void OnAnswer(ScsiExchange* self, const ScsiOutcome& outcome);
    IscsiOperation* operation;
  };

  // outcome: kDone or kRefused.
  virtual void Answered(const ScsiOutcome& outcome) = 0;

  IscsiCore& core_;
  EventLoop& origin_;
  Completion* const done_;
  BlockLock lock_;
  Exchange exchange_;
};

}  // namespace varve
