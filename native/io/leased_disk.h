// LeasedDisk: any disk, used only while its pool's lease holds.
//
//   operation ─▶ lease holds? ─▶ the disk below ─▶ done
//                  │ run out: waits            │ entered the kernel too late (ETIME): asks again
//                  └ ended: EIO
//
// Guarantees:
//   - A write, sync, discard or zeroing is given to the disk below only at a moment at which the lease holds, by a clock read
//     right before. What waits is held, not failed, until the lease is renewed or ended.
//   - Reads wait too, by the clock of the loop's turn; they go on when the lease ended by our own failure.
//   - Where data lies may be asked at any time: it says nothing of what it is.
//   - Without a lease (the disk belongs to no open pool) everything passes.
//   - Labels have their own way in: a heartbeat is how a lease that has run out is held again. It has a time limit of its own,
//     and is refused (ETIME) behind it, never held: what its writer read before must not have changed meanwhile.
// What remains: an operation that the disk below has accepted. A file's reaches the kernel within kEnterKernelMaxNs
// (event_loop.h); the kernel, a server or a device may carry out later what they have.
// Thread: any loop's; SetLease any.
#pragma once

#include <memory>
#include <vector>

#include "io/lease.h"
#include "io/wrapped_disk.h"

namespace varve {

struct LeasedOperation;

class LeasedDisk final : public WrappedDisk {
 public:
  // Labels lie before this; nothing else does (docs/format.md section 1).
  static constexpr uint64_t kLabelAreaBytes = 64 * 1024;

  using WrappedDisk::WrappedDisk;

  // Operations heed it from now on.
  void SetLease(std::shared_ptr<Lease> lease);

  // A write to the label area, given to the disk before `until_ns` of CLOCK_BOOTTIME or refused with ETIME.
  void WriteLabel(EventLoop& loop, uint64_t offset, const iovec* iov, uint64_t until_ns, Completion* done);
  void SyncLabel(EventLoop& loop, Completion* done) { below_->Sync(loop, done); }

  // As any operation, but for the way of one that need not wait.
  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;

 private:
  friend struct LeasedOperation;

  void Begin(EventLoop& loop, const DiskRequest& request, Completion* done) override;
  void Start(LeasedOperation* operation);
  void Forward(LeasedOperation* operation);
  void Refuse(LeasedOperation* operation);

  std::atomic<Lease*> lease_{nullptr};
  std::vector<std::shared_ptr<Lease>> leases_;  // kept alive; JavaScript's thread
};

}  // namespace varve
