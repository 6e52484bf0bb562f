// EventLoop: one thread that carries sockets, disks, timers and posted work.
//
// Two implementations behind this interface that serve: io_uring (uring_loop.cc) and a
// portable one on epoll and a thread pool (epoll_loop.cc). CreateEventLoop
// takes the first unless the kernel refuses it or the caller asks otherwise. A third one has
// no thread and no clock of its own: simulations turn it (simulated_loop.h).
//
// Invariants:
//   - Everything but Post() and Stop() is called on the loop's own thread.
//   - Each submission is completed exactly once, on the loop's thread, not
//     from inside the submitting call.
//   - What is queued for the kernel is gathered and handed over once per turn.
//   - A write or zeroing of a file, or a piece of a long write, that could not be handed over within kEnterKernelMaxNs, because the process
//     was stopped or starved, is not handed over any more: it ends with ETIME. Who had the right to write then may not have it now.
// Thread: one per loop; loops share nothing.
// Elsewhere: what a disk does with an operation (disk.h), NBD (nbd/).
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "io/completion.h"

namespace varve {

// An operation whose end carries a number: bytes moved, or an accepted descriptor.
struct CountedCompletion {
  // result: >= 0, or a negative errno.
  using Fn = void (*)(CountedCompletion* self, int64_t result);
  explicit CountedCompletion(Fn fn) : fn_(fn) {}
  void Run(int64_t result) { fn_(this, result); }

 private:
  Fn fn_;
};

// A one-shot timer, embedded in its owner. Re-arm by calling SetTimer again.
struct Timer {
  using Fn = void (*)(Timer* self);
  explicit Timer(Fn fn) : fn_(fn) {}
  void Run() { fn_(this); }
  uint64_t id = 0;  // the loop's; 0 = not armed

 private:
  Fn fn_;
};

class EventLoop {
 public:
  // Far longer than any turn, far shorter than the margin of a lease (src/pool/lease.ts).
  static constexpr uint64_t kEnterKernelMaxNs = 1'000'000'000;

  virtual ~EventLoop() = default;

  // Starts the thread. name: at most 15 characters, seen in ps and perf.
  virtual void Start(const char* name) = 0;
  // Ends the loop once the current turn is over, and joins its thread. Call
  // from another thread, after everything on the loop has been closed.
  virtual void Stop() = 0;

  // Runs `work` on the loop's thread, in the order posted. Any thread.
  virtual void Post(std::function<void()> work) = 0;
  virtual bool OnLoopThread() const = 0;
  // Runs `done` from the loop, in this turn: how an operation that ends at once
  // keeps the promise of never completing inside its call. Loop thread only.
  virtual void Complete(Completion* done, Status status) = 0;
  // Runs `work` at the end of this turn, once everything that has completed in it was
  // handled and before sleeping: the place to send gathered replies. Loop thread only.
  virtual void Defer(Completion* work) = 0;
  virtual void SetTimer(Timer* timer, std::chrono::milliseconds after) = 0;
  virtual void CancelTimer(Timer* timer) = 0;

  // Sockets. fd stays the caller's; buffers and msghdr are lent until completion.
  virtual void Accept(int fd, CountedCompletion* done) = 0;  // result: a connected descriptor, CLOEXEC
  virtual void Receive(int fd, void* buffer, size_t bytes, CountedCompletion* done) = 0;  // 0 = end of stream
  virtual void Send(int fd, const msghdr* message, CountedCompletion* done) = 0;  // may be short; MSG_NOSIGNAL
  // Waits once until fd is ready for any of `events` (POLLIN, POLLOUT), for libraries that do their own I/O.
  // result: the events that are ready; POLLERR and POLLHUP come unasked.
  virtual void Poll(int fd, short events, CountedCompletion* done) = 0;
  // Ends every pending socket operation on fd early (with an error or what it
  // had); each still completes once. Close the descriptor after that.
  virtual void CancelSocket(int fd) = 0;

  // Files and block devices at a byte offset. Short transfers are carried on inside; result
  // is ok or an error. iov is lent until completion. Used by file_disk.cc.
  virtual void ReadFile(int fd, const iovec* iov, int count, uint64_t offset, Completion* done) = 0;
  virtual void WriteFile(int fd, const iovec* iov, int count, uint64_t offset, Completion* done) = 0;
  virtual void SyncFile(int fd, Completion* done) = 0;  // fdatasync
  // fallocate(PUNCH_HOLE|KEEP_SIZE) when punch, else ZERO_RANGE|KEEP_SIZE.
  virtual void ZeroFile(int fd, uint64_t offset, uint64_t bytes, bool punch, Completion* done) = 0;

  // Runs `work` on a helper thread that may block, then `done` on the loop.
  virtual void RunBlocking(std::function<Status()> work, Completion* done) = 0;

  virtual const char* backend() const = 0;  // "io_uring", "epoll" or "simulated"

  // Place among the process's loops, set by the runtime before Start(); lets others keep a row per loop.
  size_t ordinal = 0;
  // CLOCK_BOOTTIME when the present turn began. The loop's thread.
  uint64_t turn_started_ns = 0;
  // What this turn found may have come since then: the loop had no time to look before, unless it slept. As above.
  uint64_t arrivals_since_ns = 0;
};

enum class LoopBackend { kAuto, kUring, kEpoll, kSimulated };

// Null with `error` set when the asked-for backend cannot be had. kAuto falls back to epoll,
// and `error` then says why io_uring is refused.
std::unique_ptr<EventLoop> CreateEventLoop(LoopBackend backend, std::string* error);

}  // namespace varve
