// MemoryBudget: how much all requests of all clients may hold together.
//
//   TryTake ──fits──▶ taken ──Give──▶ next waiter
//      └─ no ─▶ Wait ─▶ queue ─▶ granted: within the budget, or as the one overdraft
//
// Invariants:
//   - Taken bytes stay at or below the limit; one overdraft at a time comes on top. So a request larger than what
//     is left, or than the limit itself, is served in its turn, and holders that wait for more cannot block each other.
//   - Waiters are served in order; nobody overtakes them.
// Thread: any. A waiter's function runs on its loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>

#include "io/event_loop.h"

namespace varve::nbd {

// Embedded in who waits; must stay until its function ran or Cancel() returned true.
struct MemoryWaiter {
  using Fn = void (*)(MemoryWaiter* self);
  MemoryWaiter(EventLoop* loop_in, Fn fn_in) : loop(loop_in), fn(fn_in) {}
  EventLoop* loop;
  Fn fn;
  uint64_t bytes = 0;
  bool overdraft = false;  // the grant: true for as much as the request needs, false for `bytes`
};

class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  // False when it does not fit, or others wait.
  bool TryTake(uint64_t bytes);
  // Queues for waiter->bytes.
  void Wait(MemoryWaiter* waiter);
  // False when the grant is on its way.
  bool Cancel(MemoryWaiter* waiter);

  void Give(uint64_t bytes);
  void GiveOverdraft();

 private:
  bool Fits(uint64_t bytes);
  void Settle();  // with mutex_ held

  const uint64_t limit_bytes_;
  std::atomic<uint64_t> taken_bytes_{0};
  std::atomic<size_t> waiting_{0};
  std::mutex mutex_;  // guards what follows
  std::deque<MemoryWaiter*> queue_;
  bool overdrawn_ = false;
};

}  // namespace varve::nbd
