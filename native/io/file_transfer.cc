#include "io/file_transfer.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/boot_clock.h"
#include "io/event_loop.h"

namespace varve {

void FileTransfer::Begin(int fd, const iovec* iov, int count, uint64_t offset) {
  fd_ = fd;
  offset_ = offset;
  iov_ = iov;
  count_ = count;
  rest_holds_iov_ = false;
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
  if (!rest_holds_iov_) rest_.assign(iov_, iov_ + count_);
  iovec* first = rest_holds_iov_ ? rest_.data() + (iov_ - rest_.data()) : rest_.data();
  first->iov_base = static_cast<std::byte*>(first->iov_base) + moved;
  first->iov_len -= moved;
  iov_ = first;
  rest_holds_iov_ = true;
}

namespace {

// More buffers than this are a piece of their own.
constexpr int kBuffersMax = 16;

ssize_t WritePiece(const FileTransfer& transfer, uint64_t piece_bytes) {
  const auto offset = static_cast<off_t>(transfer.offset());
  if (transfer.bytes_left() <= piece_bytes) return pwritev(transfer.fd(), transfer.iov(), transfer.count(), offset);
  uint64_t room = piece_bytes - transfer.offset() % piece_bytes;
  iovec piece[kBuffersMax];
  int count = 0;
  for (; room > 0 && count < kBuffersMax; ++count) {
    const iovec& buffer = transfer.iov()[count];
    piece[count] = {buffer.iov_base, std::min<size_t>(buffer.iov_len, room)};
    room -= piece[count].iov_len;
  }
  return pwritev(transfer.fd(), piece, count, offset);
}

}  // namespace

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

Status FinishWrite(FileTransfer* transfer, uint64_t submitted_ns, uint64_t piece_bytes) {
  while (!transfer->done()) {
    ssize_t moved = WritePiece(*transfer, piece_bytes);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return Status(errno, "write");
    if (moved == 0) return PastTheEnd();
    transfer->Advance(static_cast<uint64_t>(moved));
    const bool late = !transfer->done() && BootNanoseconds() - submitted_ns > EventLoop::kEnterKernelMaxNs;
    if (late) return Status(ETIME, "held up");
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
