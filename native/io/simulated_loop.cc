#include "io/simulated_loop.h"

#include <cstdlib>

#include "base/boot_clock.h"
#include "base/simulated_time.h"

namespace varve {

namespace {
// Any moment but zero: the machine has been up for a while.
constexpr uint64_t kBeginning = 1'000'000'000'000;

const SimulatedLoop* current_loop = nullptr;
unsigned loops_alive = 0;
}  // namespace

SimulatedLoop::SimulatedLoop() {
  if (loops_alive++ == 0) simulated_time_ns = kBeginning;
}

SimulatedLoop::~SimulatedLoop() {
  if (--loops_alive == 0) simulated_time_ns = 0;
}

void SimulatedLoop::Advance(std::chrono::nanoseconds by) { simulated_time_ns += static_cast<uint64_t>(by.count()); }

bool SimulatedLoop::HasWork() const {
  const bool is_due = !timers_.empty() && timers_.begin()->first.first <= BootNanoseconds();
  return is_due || !posted_.empty() || !ready_.empty() || !deferred_.empty();
}

void SimulatedLoop::Turn() {
  Enter([this] {
    turn_started_ns = arrivals_since_ns = BootNanoseconds();
    for (auto& work : std::exchange(posted_, {})) work();
    RunDueTimers();
    for (const Ready& ready : std::exchange(ready_, {})) ready.done->Run(ready.status);
    for (Completion* work : std::exchange(deferred_, {})) work->Run(Status::Ok());
  });
}

void SimulatedLoop::Enter(const std::function<void()>& work) {
  const SimulatedLoop* outer = std::exchange(current_loop, this);
  work();
  current_loop = outer;
}

std::optional<uint64_t> SimulatedLoop::next_due_ns() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first.first;
}

// Timers that a timer arms for now wait for the next turn.
void SimulatedLoop::RunDueTimers() {
  const std::pair<uint64_t, uint64_t> end{BootNanoseconds() + 1, 0};
  const uint64_t newest = last_timer_;
  for (auto next = timers_.begin(); next != timers_.end() && next->first < end; next = timers_.begin()) {
    if (next->first.second > newest) return;
    Timer* timer = next->second;
    timers_.erase(next);
    timer->id = 0;
    timer->Run();
  }
}

void SimulatedLoop::Start(const char* /*name*/) {}

void SimulatedLoop::Stop() {
  while (!posted_.empty() || !ready_.empty() || !deferred_.empty()) Turn();
}

void SimulatedLoop::Post(std::function<void()> work) { posted_.push_back(std::move(work)); }

bool SimulatedLoop::OnLoopThread() const { return current_loop == this; }

void SimulatedLoop::Complete(Completion* done, Status status) { ready_.push_back({done, status}); }

void SimulatedLoop::Defer(Completion* work) { deferred_.push_back(work); }

void SimulatedLoop::SetTimer(Timer* timer, std::chrono::milliseconds after) {
  CancelTimer(timer);
  timer->id = ++last_timer_;
  timers_[{BootNanoseconds() + static_cast<uint64_t>(std::chrono::nanoseconds(after).count()), timer->id}] = timer;
}

void SimulatedLoop::CancelTimer(Timer* timer) {
  if (timer->id == 0) return;
  std::erase_if(timers_, [timer](const auto& entry) { return entry.second == timer; });
  timer->id = 0;
}

void SimulatedLoop::RunBlocking(std::function<Status()> work, Completion* done) { Complete(done, work()); }

void SimulatedLoop::Accept(int, CountedCompletion*) { std::abort(); }
void SimulatedLoop::Receive(int, void*, size_t, CountedCompletion*) { std::abort(); }
void SimulatedLoop::Send(int, const msghdr*, CountedCompletion*) { std::abort(); }
void SimulatedLoop::Poll(int, short, CountedCompletion*) { std::abort(); }
void SimulatedLoop::CancelSocket(int) { std::abort(); }
void SimulatedLoop::ReadFile(int, const iovec*, int, uint64_t, Completion*) { std::abort(); }
void SimulatedLoop::WriteFile(int, const iovec*, int, uint64_t, Completion*) { std::abort(); }
void SimulatedLoop::SyncFile(int, Completion*) { std::abort(); }
void SimulatedLoop::ZeroFile(int, uint64_t, uint64_t, bool, Completion*) { std::abort(); }

}  // namespace varve
