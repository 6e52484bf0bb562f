#include "io/leased_disk.h"

#include <utility>

#include "base/object_pool.h"

namespace varve {

// One operation on its way; it holds what is needed to be given to the disk again.
struct LeasedOperation : Completion, LeaseWait {
  enum class Kind : uint8_t { kRead, kWrite, kSync, kDiscard, kZero };

  LeasedOperation() : Completion(&OnEnd), LeaseWait(&OnLeaseChange) {}

  static LeasedOperation* Take(LeasedDisk* disk, EventLoop& loop, Kind kind, Completion* done) {
    LeasedOperation* operation = ObjectPool<LeasedOperation>::Take();
    operation->disk = disk;
    operation->loop = &loop;
    operation->kind = kind;
    operation->outer = done;
    return operation;
  }

  static void OnLeaseChange(LeaseWait* self) {
    auto* operation = static_cast<LeasedOperation*>(self);
    operation->disk->Start(operation);
  }

  static void OnEnd(Completion* self, Status status) {
    auto* operation = static_cast<LeasedOperation*>(self);
    if (status.error() == ETIME && !operation->ending) return operation->disk->Start(operation);
    Completion* done = operation->outer;
    operation->ending = false;
    ObjectPool<LeasedOperation>::Give(operation);
    done->Run(status);
  }

  LeasedDisk* disk;
  Kind kind;
  bool ending = false;  // with a status of ours
  uint64_t offset;
  uint64_t bytes;
  const iovec* iov;
  int count;
  Completion* outer;
};

using Kind = LeasedOperation::Kind;

void LeasedDisk::SetLease(std::shared_ptr<Lease> lease) {
  leases_.push_back(lease);
  lease_.store(lease.get());
}

void LeasedDisk::WriteLabel(EventLoop& loop, uint64_t offset, const iovec* iov, uint64_t until_ns, Completion* done) {
  if (BootNanoseconds() >= until_ns) return loop.Complete(done, Status(ETIME, "label write"));
  below_->Write(loop, offset, iov, 1, done);
}

void LeasedDisk::Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  const Lease* lease = lease_.load(std::memory_order_relaxed);
  bool free = lease == nullptr || offset < kLabelAreaBytes || lease->ended() == Lease::End::kFailed;
  if (free || (lease->HoldsAt(loop.turn_started_ns) && lease->ended() == Lease::End::kNone)) {
    return below_->Read(loop, offset, iov, count, done);
  }
  LeasedOperation* read = LeasedOperation::Take(this, loop, Kind::kRead, done);
  read->offset = offset;
  read->iov = iov;
  read->count = count;
  Start(read);
}

void LeasedDisk::Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  LeasedOperation* write = LeasedOperation::Take(this, loop, Kind::kWrite, done);
  write->offset = offset;
  write->iov = iov;
  write->count = count;
  Start(write);
}

void LeasedDisk::Sync(EventLoop& loop, Completion* done) {
  Start(LeasedOperation::Take(this, loop, Kind::kSync, done));
}

void LeasedDisk::Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  LeasedOperation* discard = LeasedOperation::Take(this, loop, Kind::kDiscard, done);
  discard->offset = offset;
  discard->bytes = bytes;
  Start(discard);
}

void LeasedDisk::WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  LeasedOperation* zero = LeasedOperation::Take(this, loop, Kind::kZero, done);
  zero->offset = offset;
  zero->bytes = bytes;
  Start(zero);
}

void LeasedDisk::Start(LeasedOperation* operation) {
  Lease* lease = lease_.load(std::memory_order_relaxed);
  for (;;) {
    if (lease == nullptr) return Forward(operation);
    Lease::End ended = lease->ended();
    if (ended == Lease::End::kFailed && operation->kind == Kind::kRead) return Forward(operation);
    if (ended != Lease::End::kNone) return Refuse(operation);
    if (lease->Holds()) return Forward(operation);
    if (lease->Wait(operation)) return;
  }
}

void LeasedDisk::Forward(LeasedOperation* operation) {
  EventLoop& loop = *operation->loop;
  switch (operation->kind) {
    case Kind::kRead: return below_->Read(loop, operation->offset, operation->iov, operation->count, operation);
    case Kind::kWrite: return below_->Write(loop, operation->offset, operation->iov, operation->count, operation);
    case Kind::kSync: return below_->Sync(loop, operation);
    case Kind::kDiscard: return below_->Discard(loop, operation->offset, operation->bytes, operation);
    case Kind::kZero: return below_->WriteZeroes(loop, operation->offset, operation->bytes, operation);
  }
}

void LeasedDisk::Refuse(LeasedOperation* operation) {
  operation->ending = true;
  operation->loop->Complete(operation, Status(EIO, "lease of the pool"));
}

}  // namespace varve
