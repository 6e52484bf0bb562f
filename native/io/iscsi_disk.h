// IscsiDisk: a LUN of an iSCSI target as a Disk (contract: disk.h).
//
// Guarantees beyond the contract:
//   - No kernel initiator, no root, no thread of its own: libiscsi on the home loop; others post to it.
//   - Sync is SYNCHRONIZE CACHE where the LUN has a volatile cache, nothing where it has none. Discard is UNMAP on thin LUNs
//     that have it, WriteZeroes is WRITE SAME where the target knows it.
//   - An operation that fails because no path to the target works ends with ENOTCONN, ETIMEDOUT, ECONNRESET, ECONNREFUSED or
//     EHOSTUNREACH; the same may be submitted again, syncs too: nothing that was written is forgotten (iscsi_core.h).
//   - size_bytes() is the size found on opening; Measure() asks again. A LUN that was found larger must not come back smaller.
// Thread: any loop's.
// Elsewhere: paths and their failures (iscsi_link.h), one operation (iscsi_operation.h).
#pragma once

#include <functional>
#include <memory>

#include "io/disk.h"
#include "io/iscsi_core.h"

namespace varve {

class IscsiDisk final : public Disk {
 public:
  explicit IscsiDisk(std::shared_ptr<IscsiCore> core) : core_(std::move(core)) {}
  ~IscsiDisk() override;

  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Sync(EventLoop& loop, Completion* done) override;
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  uint64_t size_bytes() const override { return core_->size_bytes(); }
  void Measure(EventLoop& loop, uint64_t* bytes, Completion* done) override;
  bool keeps_unsynced() const override { return true; }

 private:
  void Submit(IscsiOperation* operation);

  const std::shared_ptr<IscsiCore> core_;
};

struct OpenedIscsiDisk {
  std::shared_ptr<Disk> disk;
  IscsiLun lun;
};

// Opens the LUN with `home` as its loop; every portal that answers must show the same LUN. done, on home's thread: ok; or of the
// first portal that is worth telling: ENOPKG libiscsi is missing; EACCES login refused, or the LUN is reserved; ENOENT no such
// target; ENXIO no such LUN; ENOTBLK no disk; EROFS write-protected, and not opened read_only; ESTALE portals show different LUNs;
// ENOTUNIQ they cannot be compared; or the errno of the connection.
void OpenIscsiDisk(EventLoop& home, IscsiCore::Options options, std::function<void(Status, OpenedIscsiDisk)> done);

}  // namespace varve
