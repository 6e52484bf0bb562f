// NfsDisk: a file on an NFS server as a Disk (contract: disk.h), without a kernel mount, threads or root.
//
//   any loop ──Post──▶ the disk's home loop: NfsFile ─▶ NfsLink ─▶ server
//
// One connection, on one loop: that all requests of a file take one way is what their order rests on.
//
// Guarantees beyond the contract:
//   - A failed operation may be submitted again, a failed Sync too: nothing that was written is forgotten by its failure.
//   - The errnos of a server that cannot be reached, restarts or does not answer: ENOTCONN, ETIMEDOUT, ECONNRESET, ECONNREFUSED,
//     EHOSTUNREACH, ESTALE.
//   - One owner in this process: the file is opened for writing once. Other hosts are kept off by the pool's lease alone.
// Not kept: Discard gives no space back, versions 3 and 4.0 of the protocol have nothing for it.
// Thread: any loop's. Destroyed on any thread while its home runs.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "io/disk.h"
#include "io/nfs_address.h"
#include "io/nfs_file.h"

namespace varve {

class NfsDisk final : public Disk {
 public:
  struct Access {
    bool read_only = false;
    bool alone = false;  // nobody else here has it for writing, or alone
  };
  using Opened = std::function<void(Status, std::shared_ptr<NfsDisk>)>;

  // opened: on `home`, not inside the call. EWOULDBLOCK: the file is open for writing here. ENOPKG: no libnfs. ENXIO: no such
  // export. ENOENT: no such file. EACCES: the server does not let this host or user in. EISDIR, ENOTSUP: not a file. Or see above.
  static void Open(EventLoop& home, NfsAddress address, Access access, Opened opened);
  ~NfsDisk() override;

  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Sync(EventLoop& loop, Completion* done) override;
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  uint64_t size_bytes() const override { return size_bytes_; }
  void Measure(EventLoop& loop, uint64_t* bytes, Completion* done) override;
  bool keeps_unsynced() const override { return true; }

  // The same for every name of the file.
  const std::string& identity() const { return identity_; }

 private:
  NfsDisk(std::shared_ptr<NfsFile> file, Access access);
  bool Claim();
  bool RefuseWrite(EventLoop& loop, Completion* done);
  void Submit(EventLoop& loop, NfsOperation::Kind kind, uint64_t offset, const iovec* iov, int count, Completion* done);
  void Submit(std::unique_ptr<NfsOperation> operation);

  EventLoop& home_;
  std::shared_ptr<NfsFile> file_;  // used and let go on home_
  const Access access_;
  const uint64_t size_bytes_;
  const std::string identity_;
  bool claimed_ = false;
};

}  // namespace varve
