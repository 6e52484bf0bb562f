#include "io/loop_base.h"

#include <algorithm>
#include <utility>

#include "base/boot_clock.h"
#include "io/threads.h"

namespace varve {

namespace {
thread_local const LoopBase* current_loop = nullptr;

// Completions may submit operations that end at once, for ever; after so many
// rounds sockets and timers get their turn.
constexpr int kReadyRoundsMax = 16;

// A wait that finds something ready takes some microseconds; behind long work more, with cold caches or another thread on the processor.
constexpr uint64_t kSleepMinNs = 10'000;
constexpr uint64_t kSleepMinShare = 4;
}  // namespace

LoopBase::~LoopBase() = default;

void LoopBase::Start(const char* name) {
  thread_ = StartThread(name, [this] { Run(); });
}

void LoopBase::Stop() {
  inbox_.Stop();
  if (thread_.joinable()) thread_.join();
}

void LoopBase::Post(std::function<void()> work) { inbox_.Post(std::move(work)); }

bool LoopBase::OnLoopThread() const { return current_loop == this; }

void LoopBase::Complete(Completion* done, Status status) {
  ready_.push_back({done, nullptr, 0, status});
}

void LoopBase::CompleteCounted(CountedCompletion* done, int64_t result) {
  ready_.push_back({nullptr, done, result, Status::Ok()});
}

void LoopBase::Defer(Completion* work) { deferred_.push_back(work); }

void LoopBase::SetTimer(Timer* timer, std::chrono::milliseconds after) {
  timers_.Set(timer, Clock::now() + after);
}

void LoopBase::CancelTimer(Timer* timer) { timers_.Cancel(timer); }

// A cached read is a copy, and doing it here spares the turn through the kernel's queue.
void LoopBase::ReadFile(int fd, const iovec* iov, int count, uint64_t offset, Completion* done) {
  transfer_.Begin(fd, iov, count, offset);
  if (ReadCached(&transfer_)) Complete(done, Status::Ok());
  else ReadFileLater(&transfer_, done);
}

void LoopBase::WriteFile(int fd, const iovec* iov, int count, uint64_t offset, Completion* done) {
  transfer_.Begin(fd, iov, count, offset);
  Clock::time_point now = Clock::now();
  if (inline_writes_.MayWriteInline(fd, transfer_.bytes_left(), now)) WriteInline(done, now);
  else if (transfer_.bytes_left() > kWritePieceBytes) large_writes_.Start(&transfer_, turn_started_ns, done);
  else WriteFileLater(&transfer_, done);
}

void LoopBase::WriteInline(Completion* done, Clock::time_point start) {
  sleep_watch_.Begin();
  Complete(done, FinishWrite(&transfer_, BootNanoseconds()));
  Clock::time_point end = Clock::now();
  bool stalled = end - start > InlineWritePolicy::kSlowWrite && sleep_watch_.Slept();
  if (stalled) inline_writes_.Stalled(transfer_.fd(), start, end);
}

void LoopBase::RunBlocking(std::function<Status()> work, Completion* done) {
  BlockingCall* call = blocking_calls_.Take();
  call->work = std::move(work);
  call->done = done;
  helpers_.Run([this, call] {
    call->status = call->work();
    inbox_.Post([this, call] { EndBlocking(call); });
  });
}

void LoopBase::EndBlocking(BlockingCall* call) {
  Completion* done = call->done;
  Status status = call->status;
  call->work = nullptr;
  blocking_calls_.Give(call);
  done->Run(status);
}

void LoopBase::Run() {
  current_loop = this;
  BeginThread();
  for (;;) {
    BeginTurn();
    if (!RunPosted()) return;
    if (!timers_.empty()) timers_.RunDue(Clock::now());
    HandleEvents();
    RunReady();
    RunDeferred();
    sleep_watch_.End();
    worked_until_ns_ = BootNanoseconds();
    Wait(TimeToWait());
  }
}

// Who slept was woken by what came.
void LoopBase::BeginTurn() {
  const uint64_t now = BootNanoseconds();
  const uint64_t worked_ns = worked_until_ns_ - turn_started_ns;
  const bool slept = now - worked_until_ns_ > std::max(kSleepMinNs, worked_ns / kSleepMinShare);
  arrivals_since_ns = slept ? now : turn_started_ns;
  turn_started_ns = now;
}

bool LoopBase::RunPosted() {
  bool running = inbox_.Take(&posted_);
  for (std::function<void()>& work : posted_) work();
  posted_.clear();
  return running;
}

void LoopBase::RunReady() {
  for (int round = 0; round < kReadyRoundsMax && !ready_.empty(); ++round) {
    ready_batch_.swap(ready_);
    for (const Ready& ready : ready_batch_) {
      if (ready.counted) ready.counted->Run(ready.result);
      else ready.done->Run(ready.status);
    }
    ready_batch_.clear();
  }
}

void LoopBase::RunDeferred() {
  deferred_batch_.swap(deferred_);
  for (Completion* work : deferred_batch_) work->Run(Status::Ok());
  deferred_batch_.clear();
}

std::optional<LoopBase::Clock::duration> LoopBase::TimeToWait() {
  bool pending = !ready_.empty() || !deferred_.empty();
  if (pending || !inbox_.MaySleep()) return Clock::duration::zero();
  if (timers_.empty()) return std::nullopt;
  return std::max(Clock::duration::zero(), timers_.next_due() - Clock::now());
}

}  // namespace varve
