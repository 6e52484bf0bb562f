#include "io/sync_gate.h"

#include <utility>

namespace varve {

void SyncGate::Sync(EventLoop& loop, Completion* done) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back({&loop, done});
    if (std::exchange(running_, true)) return;
    in_flight_.swap(waiting_);
  }
  StartRound(&loop);
}

void SyncGate::StartRound(EventLoop* loop) {
  if (failed()) loop->Complete(&round_, Status(EIO, "sync"));
  else loop->SyncFile(fd_, &round_);
}

void SyncGate::Round::OnEnd(Completion* self, Status status) {
  static_cast<Round*>(self)->gate->EndRound(status);
}

void SyncGate::EndRound(Status status) {
  if (!status.ok()) failed_.store(true, std::memory_order_release);
  std::vector<Waiter> ended;
  EventLoop* next = nullptr;
  {
    std::lock_guard lock(mutex_);
    ended.swap(in_flight_);
    in_flight_.swap(waiting_);
    running_ = !in_flight_.empty();
    // The next round runs on a loop that waits for it: that one is not stopped meanwhile.
    if (running_) next = in_flight_.front().loop;
  }
  // The last completion may end the disk's life, so the gate is left before the first.
  if (next) next->Post([this, next] { StartRound(next); });
  for (const Waiter& waiter : ended) {
    if (waiter.loop->OnLoopThread()) waiter.done->Run(status);
    else waiter.loop->Post([waiter, status] { waiter.done->Run(status); });
  }
}

}  // namespace varve
