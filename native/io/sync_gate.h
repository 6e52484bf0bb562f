// SyncGate: one sync of a disk at a time, and never a success after a failure.
//
//   idle ─▶ running ─▶ idle        those who ask while one runs share the next
//              └─▶ failed          final: everything fails with EIO from then on
//
// One at a time, because the kernel reports lost pages to one sync only: a
// second, running beside the one that failed, would report success for them.
// Thread: any.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "io/completion.h"
#include "io/event_loop.h"

namespace varve {

class SyncGate {
 public:
  explicit SyncGate(int fd) : fd_(fd) {}

  // done: ok when everything written before is durable; else the failure, or EIO after an earlier one.
  void Sync(EventLoop& loop, Completion* done);
  bool failed() const { return failed_.load(std::memory_order_acquire); }

 private:
  struct Waiter {
    EventLoop* loop;
    Completion* done;
  };
  struct Round : Completion {
    explicit Round(SyncGate* owner) : Completion(OnEnd), gate(owner) {}
    static void OnEnd(Completion* self, Status status);
    SyncGate* gate;
  };

  void StartRound(EventLoop* loop);
  void EndRound(Status status);

  const int fd_;
  std::atomic<bool> failed_{false};
  Round round_{this};
  std::mutex mutex_;
  bool running_ = false;           // by mutex_, as the two below
  std::vector<Waiter> waiting_;    // for the next round
  std::vector<Waiter> in_flight_;  // covered by the running one
};

}  // namespace varve
