// SimulatedLoop: an event loop without a thread, whose turns and whose time a simulation decides.
//
//   turn:  posted work ─▶ timers due ─▶ ready ─▶ deferred       one Turn() each, on the caller's thread
//
// Several of them share the caller's thread: which one turns next is the order in which threads would have run. Time is
// simulated_time_ns, moved by Advance(); while a simulated loop exists, every clock of the data plane says that.
// Blocking work runs inside the turn. Sockets and files are not its business: calling them is a bug of the simulation.
// Thread: one, of whoever simulates.
// Elsewhere: disks whose completions are the simulation's too (gated_disk.h), who chooses (tools/simulate).
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "io/event_loop.h"

namespace varve {

class SimulatedLoop final : public EventLoop {
 public:
  // Time begins anew with the first loop.
  SimulatedLoop();
  ~SimulatedLoop() override;

  // All loops' time.
  static void Advance(std::chrono::nanoseconds by);

  // Something is posted, due, ready or deferred.
  bool HasWork() const;
  // Does what there is now; what comes of it waits for the next turn.
  void Turn();
  // Runs `work` as if a turn had come to it: what an operation of this loop does when it is let go.
  void Enter(const std::function<void()>& work);
  // When the next timer is due, of BootNanoseconds.
  std::optional<uint64_t> next_due_ns() const;

  void Start(const char* name) override;
  // Turns until nothing is left to do.
  void Stop() override;
  void Post(std::function<void()> work) override;
  bool OnLoopThread() const override;
  void Complete(Completion* done, Status status) override;
  void Defer(Completion* work) override;
  void SetTimer(Timer* timer, std::chrono::milliseconds after) override;
  void CancelTimer(Timer* timer) override;
  void RunBlocking(std::function<Status()> work, Completion* done) override;
  const char* backend() const override { return "simulated"; }

  void Accept(int fd, CountedCompletion* done) override;
  void Receive(int fd, void* buffer, size_t bytes, CountedCompletion* done) override;
  void Send(int fd, const msghdr* message, CountedCompletion* done) override;
  void Poll(int fd, short events, CountedCompletion* done) override;
  void CancelSocket(int fd) override;
  void ReadFile(int fd, const iovec* iov, int count, uint64_t offset, Completion* done) override;
  void WriteFile(int fd, const iovec* iov, int count, uint64_t offset, Completion* done) override;
  void SyncFile(int fd, Completion* done) override;
  void ZeroFile(int fd, uint64_t offset, uint64_t bytes, bool punch, Completion* done) override;

 private:
  struct Ready {
    Completion* done;
    Status status;
  };
  void RunDueTimers();

  std::vector<std::function<void()>> posted_;
  std::vector<Ready> ready_;
  std::vector<Completion*> deferred_;
  std::map<std::pair<uint64_t, uint64_t>, Timer*> timers_;  // by due time, then by id
  uint64_t last_timer_ = 0;
};

}  // namespace varve
