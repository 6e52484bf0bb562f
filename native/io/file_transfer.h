// FileTransfer: what is left of one vectored read or write at an offset.
//
// The kernel may move less than it was asked to; Advance() moves on to the rest. The caller's
// vector is never changed: a copy is made once a transfer was cut inside a buffer.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/status.h"

namespace varve {

class FileTransfer {
 public:
  // iov: lent until the transfer ends.
  void Begin(int fd, const iovec* iov, int count, uint64_t offset);
  // Leaves out `moved` bytes at the front. moved <= bytes_left().
  void Advance(uint64_t moved);

  bool done() const { return bytes_left_ == 0; }
  uint64_t bytes_left() const { return bytes_left_; }
  int fd() const { return fd_; }
  uint64_t offset() const { return offset_; }
  const iovec* iov() const { return iov_; }
  int count() const;  // at most IOV_MAX, what one system call takes

 private:
  int fd_ = -1;
  uint64_t offset_ = 0;
  uint64_t bytes_left_ = 0;
  const iovec* iov_ = nullptr;
  int count_ = 0;
  std::vector<iovec> rest_;
  bool rest_holds_iov_ = false;
};

// The range lies behind the end of the file or device. A disk's size is known, so it was cut off since it was opened: what
// was there is gone, and must not be taken for zeroes.
inline Status PastTheEnd() { return Status(EIO, "past the end of the disk, which was cut off"); }

// A write makes pages of the page cache as large as itself, and some filesystems (ext4 from Linux 6.16 on) look at every block of
// such a page when 4 KiB of it are overwritten later: 9 us behind a write of 1 MiB, 3 us behind one of 64 KiB (docs/adr/0012).
constexpr uint64_t kWritePieceBytes = 64 * 1024;

// Carry the transfer to its end, blocking.
Status FinishRead(FileTransfer* transfer);
// What is longer than piece_bytes goes in pieces that end at its multiples. ETIME: the next one would be handed over later than
// EventLoop::kEnterKernelMaxNs behind submitted_ns (of CLOCK_BOOTTIME); the first one is handed over in any case.
Status FinishWrite(FileTransfer* transfer, uint64_t submitted_ns, uint64_t piece_bytes = kWritePieceBytes);
// Moves what is in the page cache; true when that was all.
bool ReadCached(FileTransfer* transfer);
// The blocking forms of EventLoop's SyncFile and ZeroFile.
Status SyncData(int fd);
Status ZeroRange(int fd, uint64_t offset, uint64_t bytes, bool punch);
int ZeroMode(bool punch);  // fallocate's

}  // namespace varve
