#include "io/file_transfer.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace varve {

void FileTransfer::Begin(int fd, const iovec* iov, int count, uint64_t offset) {
  fd_ = fd;
  offset_ = offset;
  iov_ = iov;
  count_ = count;
  bytes_left_ = 0;
  for (int i = 0; i < count; ++i) bytes_left_ += iov[i].iov_len;
}

int FileTransfer::count() const { return std::min(count_, IOV_MAX); }

void FileTransfer::Advance(uint64_t moved) {
  bytes_left_ -= moved;
  offset_ += moved;
  if (done()) return;
  while (moved >= iov_->iov_len) {
    moved -= iov_->iov_len;
    ++iov_;
    --count_;
  }
  if (moved == 0) return;
  std::vector<iovec> rest(iov_, iov_ + count_);
  rest.front().iov_base = static_cast<std::byte*>(rest.front().iov_base) + moved;
  rest.front().iov_len -= moved;
  rest_.swap(rest);
  iov_ = rest_.data();
}

Status FinishRead(FileTransfer* transfer) {
  while (!transfer->done()) {
    ssize_t moved = preadv(transfer->fd(), transfer->iov(), transfer->count(),
                           static_cast<off_t>(transfer->offset()));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return Status(errno, "read");
    if (moved == 0) return PastTheEnd();
    transfer->Advance(static_cast<uint64_t>(moved));
  }
  return Status::Ok();
}

Status FinishWrite(FileTransfer* transfer) {
  while (!transfer->done()) {
    ssize_t moved = pwritev(transfer->fd(), transfer->iov(), transfer->count(),
                            static_cast<off_t>(transfer->offset()));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return Status(errno, "write");
    if (moved == 0) return PastTheEnd();
    transfer->Advance(static_cast<uint64_t>(moved));
  }
  return Status::Ok();
}

bool ReadCached(FileTransfer* transfer) {
  while (!transfer->done()) {
    ssize_t moved = preadv2(transfer->fd(), transfer->iov(), transfer->count(),
                            static_cast<off_t>(transfer->offset()), RWF_NOWAIT);
    if (moved <= 0) return false;
    transfer->Advance(static_cast<uint64_t>(moved));
  }
  return true;
}

Status SyncData(int fd) {
  while (fdatasync(fd) < 0) {
    if (errno != EINTR) return Status(errno, "sync");
  }
  return Status::Ok();
}

Status ZeroRange(int fd, uint64_t offset, uint64_t bytes, bool punch) {
  while (fallocate(fd, ZeroMode(punch), static_cast<off_t>(offset), static_cast<off_t>(bytes)) < 0) {
    if (errno != EINTR) return Status(errno, punch ? "discard" : "write zeroes");
  }
  return Status::Ok();
}

int ZeroMode(bool punch) {
  return FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

}  // namespace varve
