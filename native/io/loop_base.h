// LoopBase: all of an event loop but its way of asking the kernel.
//
//   turn:  wait ─▶ posted work ─▶ timers ─▶ events ─▶ ready ─▶ deferred ─▶ wait
//
// "Ready" are operations that ended inside the call that submitted them (a cached
// read, an inline write, Complete()); they are reported in the same turn. What deferred work
// submits or defers keeps the loop from sleeping: it is handled in the next turn.
// Thread: as in event_loop.h.
// Elsewhere: io_uring (uring_loop.h), epoll (epoll_loop.h).
#pragma once

#include <optional>
#include <thread>
#include <vector>

#include "io/event_loop.h"
#include "io/file_transfer.h"
#include "io/free_list.h"
#include "io/helper_threads.h"
#include "io/inbox.h"
#include "io/inline_write_policy.h"
#include "io/large_writes.h"
#include "io/sleep_watch.h"
#include "io/timer_heap.h"

namespace varve {

class LoopBase : public EventLoop {
 public:
  ~LoopBase() override;

  void Start(const char* name) final;
  void Stop() final;
  void Post(std::function<void()> work) final;
  bool OnLoopThread() const final;
  void Complete(Completion* done, Status status) final;
  void Defer(Completion* work) final;
  void SetTimer(Timer* timer, std::chrono::milliseconds after) final;
  void CancelTimer(Timer* timer) final;
  void ReadFile(int fd, const iovec* iov, int count, uint64_t offset, Completion* done) final;
  void WriteFile(int fd, const iovec* iov, int count, uint64_t offset, Completion* done) final;
  void RunBlocking(std::function<Status()> work, Completion* done) final;

 protected:
  using Clock = std::chrono::steady_clock;

  // Called first on the loop's thread.
  virtual void BeginThread() {}
  // Hands over what was gathered and waits for an event, at most until `limit`
  // from now (none: without limit).
  virtual void Wait(std::optional<Clock::duration> limit) = 0;
  // Runs the completions of what has ended.
  virtual void HandleEvents() = 0;
  // Carry a transfer to its end without ever blocking the loop's thread. Its
  // content is taken over (swapped).
  virtual void ReadFileLater(FileTransfer* transfer, Completion* done) = 0;
  virtual void WriteFileLater(FileTransfer* transfer, Completion* done) = 0;

  void CompleteCounted(CountedCompletion* done, int64_t result);
  Inbox& inbox() { return inbox_; }
  HelperThreads& helpers() { return helpers_; }

 private:
  struct Ready {
    Completion* done;
    CountedCompletion* counted;  // instead of `done`
    int64_t result;
    Status status;
  };
  struct BlockingCall {
    std::function<Status()> work;
    Status status;
    Completion* done;
  };

  void Run();
  void BeginTurn();
  bool RunPosted();
  void RunReady();
  void RunDeferred();
  std::optional<Clock::duration> TimeToWait();
  void WriteInline(Completion* done, Clock::time_point start);
  void EndBlocking(BlockingCall* call);

  Inbox inbox_;
  TimerHeap timers_;
  InlineWritePolicy inline_writes_;
  SleepWatch sleep_watch_;
  FileTransfer transfer_;  // the one being submitted
  FreeList<BlockingCall> blocking_calls_;
  // Each list has a twin that is worked through while the first fills again.
  std::vector<std::function<void()>> posted_;
  std::vector<Ready> ready_, ready_batch_;
  std::vector<Completion*> deferred_, deferred_batch_;
  uint64_t worked_until_ns_ = 0;
  std::thread thread_;
  LargeWrites large_writes_{helpers_, inbox_};
  HelperThreads helpers_;  // destroyed first: helpers post to the inbox
};

}  // namespace varve
