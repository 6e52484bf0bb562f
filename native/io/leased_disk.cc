#include "io/leased_disk.h"

#include <utility>

#include "base/object_pool.h"

namespace varve {

// One operation on its way; it holds what is needed to be given to the disk again.
struct LeasedOperation : Completion, LeaseWait {
  LeasedOperation() : Completion(&OnEnd), LeaseWait(&OnLeaseChange) {}

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
  DiskRequest request;
  bool ending = false;  // with a status of ours
  Completion* outer;
};

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
  WrappedDisk::Read(loop, offset, iov, count, done);
}

void LeasedDisk::Begin(EventLoop& loop, const DiskRequest& request, Completion* done) {
  LeasedOperation* operation = ObjectPool<LeasedOperation>::Take();
  operation->disk = this;
  operation->loop = &loop;
  operation->request = request;
  operation->outer = done;
  Start(operation);
}

void LeasedDisk::Start(LeasedOperation* operation) {
  Lease* lease = lease_.load(std::memory_order_relaxed);
  for (;;) {
    if (lease == nullptr) return Forward(operation);
    Lease::End ended = lease->ended();
    if (ended == Lease::End::kFailed && operation->request.op == DiskOp::kRead) return Forward(operation);
    if (ended != Lease::End::kNone) return Refuse(operation);
    if (lease->Holds()) return Forward(operation);
    if (lease->Wait(operation)) return;
  }
}

void LeasedDisk::Forward(LeasedOperation* operation) { operation->request.Submit(*below_, *operation->loop, operation); }

void LeasedDisk::Refuse(LeasedOperation* operation) {
  operation->ending = true;
  operation->loop->Complete(operation, Status(EIO, "lease of the pool"));
}

}  // namespace varve
