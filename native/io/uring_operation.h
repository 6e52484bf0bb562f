// UringOperation: one operation of a UringLoop and how it is written as a queue entry.
//
// It holds everything its entry needs, so that it can be queued again: after a
// short transfer, after waiting for a socket, or from the backlog.
#pragma once

#include <liburing.h>

#include "io/event_loop.h"
#include "io/file_transfer.h"

namespace varve {

struct UringOperation {
  enum class Kind : uint8_t {
    kWatchInbox,
    kCancel,
    kAccept,
    kReceive,
    kSend,
    kPoll,
    kRead,
    kWrite,
    kSync,
    kZero,
  };

  void Prepare(io_uring_sqe* sqe);
  const char* name() const;  // for Status
  bool changes_file() const { return kind == Kind::kWrite || kind == Kind::kZero; }

  Kind kind;
  int fd;
  bool polling;     // waits until the socket is ready instead of trying
  bool cancelling;  // not to be tried again
  union {
    CountedCompletion* counted;  // sockets
    Completion* done;            // files
  };
  union {
    void* buffer;
    const msghdr* message;
    const UringOperation* cancelled;
  };
  size_t bytes;  // of buffer
  short poll_events;
  size_t place;  // in the loop's list of socket operations
  FileTransfer transfer;
  uint64_t zero_offset;
  uint64_t zero_bytes;
  bool zero_punch;
  uint64_t submitted_ns;  // CLOCK_BOOTTIME
  bool late;              // given up before it entered the kernel

 private:
  void PreparePoll(io_uring_sqe* sqe);
  void PrepareSend(io_uring_sqe* sqe);
  void PrepareRead(io_uring_sqe* sqe);
};

}  // namespace varve
