#include "io/uring_operation.h"

#include <poll.h>

#include <algorithm>

namespace varve {

namespace {
// One entry's length is 32 bits; longer transfers are carried on by the loop.
constexpr size_t kEntryBytesMax = size_t{1} << 30;
}  // namespace

void UringOperation::Prepare(io_uring_sqe* sqe) {
  if (polling) return PreparePoll(sqe);
  switch (kind) {
    case Kind::kWatchInbox:
      return io_uring_prep_read(sqe, fd, buffer, sizeof(uint64_t), 0);
    case Kind::kCancel:
      return io_uring_prep_cancel64(sqe, reinterpret_cast<uint64_t>(cancelled), 0);
    case Kind::kAccept:
      return io_uring_prep_accept(sqe, fd, nullptr, nullptr, SOCK_CLOEXEC);
    case Kind::kReceive:
      return io_uring_prep_recv(sqe, fd, buffer, std::min(bytes, kEntryBytesMax), 0);
    case Kind::kSend:
      return PrepareSend(sqe);
    case Kind::kPoll:
      return io_uring_prep_poll_add(sqe, fd, static_cast<unsigned>(poll_events));
    case Kind::kRead:
      return PrepareRead(sqe);
    case Kind::kWrite:
      return io_uring_prep_writev(sqe, fd, transfer.iov(), static_cast<unsigned>(transfer.count()),
                                  transfer.offset());
    case Kind::kSync:
      return io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    case Kind::kZero:
      return io_uring_prep_fallocate(sqe, fd, ZeroMode(zero_punch), static_cast<off_t>(zero_offset),
                                     static_cast<off_t>(zero_bytes));
  }
}

void UringOperation::PreparePoll(io_uring_sqe* sqe) {
  io_uring_prep_poll_add(sqe, fd, kind == Kind::kSend ? POLLOUT : POLLIN);
}

// MSG_WAITALL lets the kernel carry on a short send by itself when it can.
void UringOperation::PrepareSend(io_uring_sqe* sqe) {
  constexpr int kFlags = MSG_NOSIGNAL | MSG_WAITALL;
  const iovec* only = message->msg_iov;
  bool plain = message->msg_iovlen == 1 && !message->msg_name && !message->msg_control;
  if (!plain) return io_uring_prep_sendmsg(sqe, fd, message, kFlags);
  io_uring_prep_send(sqe, fd, only->iov_base, std::min(only->iov_len, kEntryBytesMax), kFlags);
}

// A plain buffer spares the kernel copying the vector.
void UringOperation::PrepareRead(io_uring_sqe* sqe) {
  const iovec* iov = transfer.iov();
  uint64_t offset = transfer.offset();
  if (transfer.count() > 1) {
    return io_uring_prep_readv(sqe, fd, iov, static_cast<unsigned>(transfer.count()), offset);
  }
  unsigned length = static_cast<unsigned>(std::min(iov->iov_len, kEntryBytesMax));
  io_uring_prep_read(sqe, fd, iov->iov_base, length, offset);
}

const char* UringOperation::name() const {
  switch (kind) {
    case Kind::kRead: return "read";
    case Kind::kWrite: return "write";
    case Kind::kSync: return "sync";
    case Kind::kZero: return zero_punch ? "discard" : "write zeroes";
    default: return "socket";
  }
}

}  // namespace varve
