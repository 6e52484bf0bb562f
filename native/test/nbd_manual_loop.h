// ManualLoop: an EventLoop without thread, kernel or clock, for tests of sessions byte by byte.
//
// RunAll() does everything posted, completed and deferred until nothing is left; time moves by Advance() only.
// Sockets and files are not its business: calling them is a bug of the test.
#pragma once

#include <chrono>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "io/event_loop.h"

namespace varve {

class ManualLoop final : public EventLoop {
 public:
  void RunAll() {
    while (!posted_.empty() || !deferred_.empty()) {
      for (auto& work : std::exchange(posted_, {})) work();
      for (Completion* work : std::exchange(deferred_, {})) work->Run(Status::Ok());
    }
  }
  void Advance(std::chrono::milliseconds by) {
    now_ += by;
    while (!timers_.empty() && timers_.begin()->first.first <= now_) {
      Timer* timer = timers_.begin()->second;
      timers_.erase(timers_.begin());
      timer->id = 0;
      timer->Run();
      RunAll();
    }
  }

  size_t armed_timers() const { return timers_.size(); }

  void Post(std::function<void()> work) override { posted_.push_back(std::move(work)); }
  void Defer(Completion* work) override { deferred_.push_back(work); }
  void Complete(Completion* done, Status status) override {
    posted_.push_back([done, status] { done->Run(status); });
  }
  void SetTimer(Timer* timer, std::chrono::milliseconds after) override {
    CancelTimer(timer);
    timer->id = ++last_timer_;
    timers_[{now_ + after, timer->id}] = timer;
  }
  void CancelTimer(Timer* timer) override {
    std::erase_if(timers_, [timer](const auto& entry) { return entry.second == timer; });
    timer->id = 0;
  }
  bool OnLoopThread() const override { return true; }
  const char* backend() const override { return "manual"; }

  void Start(const char*) override { std::abort(); }
  void Stop() override { std::abort(); }
  void Accept(int, CountedCompletion*) override { std::abort(); }
  void Receive(int, void*, size_t, CountedCompletion*) override { std::abort(); }
  void Send(int, const msghdr*, CountedCompletion*) override { std::abort(); }
  void Poll(int, short, CountedCompletion*) override { std::abort(); }
  void CancelSocket(int) override { std::abort(); }
  void ReadFile(int, const iovec*, int, uint64_t, Completion*) override { std::abort(); }
  void WriteFile(int, const iovec*, int, uint64_t, Completion*) override { std::abort(); }
  void SyncFile(int, Completion*) override { std::abort(); }
  void ZeroFile(int, uint64_t, uint64_t, bool, Completion*) override { std::abort(); }
  void RunBlocking(std::function<Status()>, Completion*) override { std::abort(); }

 private:
  std::deque<std::function<void()>> posted_;
  std::vector<Completion*> deferred_;
  std::map<std::pair<std::chrono::milliseconds, uint64_t>, Timer*> timers_;
  std::chrono::milliseconds now_{0};
  uint64_t last_timer_ = 0;
};

}  // namespace varve
