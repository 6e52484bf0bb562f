#include "io/patient_disk.h"

#include <algorithm>
#include <utility>

#include "base/object_pool.h"
#include "io/disk_faults.h"

namespace varve {

using std::chrono::milliseconds;

// One operation on its way, as often as it takes.
struct PatientDisk::Attempt : Completion {
  Attempt() : Completion(OnDone) {}
  static void OnDone(Completion* self, Status status) {
    auto* attempt = static_cast<Attempt*>(self);
    attempt->disk->OnEnd(attempt, status);
  }

  PatientDisk* disk = nullptr;
  EventLoop* loop = nullptr;
  Completion* done = nullptr;
  DiskRequest request{};
  bool again = false;  // held before
  Status failure{};    // newest
};

// The disk's timers, which may be armed when it goes: they are the home loop's to let go of.
struct PatientDisk::Watch {
  struct LookTimer : Timer {
    explicit LookTimer(Watch* of) : Timer(OnDue), watch(of) {}
    static void OnDue(Timer* self) {
      if (auto disk = static_cast<LookTimer*>(self)->watch->disk.lock()) disk->Look();
    }
    Watch* watch;
  };
  struct RetryTimer : Timer {
    explicit RetryTimer(Watch* of) : Timer(OnDue), watch(of) {}
    static void OnDue(Timer* self) {
      if (auto disk = static_cast<RetryTimer*>(self)->watch->disk.lock()) disk->OnRetryDue();
    }
    Watch* watch;
  };

  std::weak_ptr<PatientDisk> disk;
  LookTimer look{this};
  RetryTimer retry{this};
};

// A read of the disk's first block; keeps the disk until it is answered.
struct PatientDisk::Probe : Completion {
  explicit Probe(std::shared_ptr<PatientDisk> of) : Completion(OnDone), disk(std::move(of)) {
    piece = {block.data(), std::min<size_t>(block.size(), disk->size_bytes())};
  }
  static void OnDone(Completion* self, Status status) {
    std::unique_ptr<Probe> probe(static_cast<Probe*>(self));
    probe->disk->OnProbed(status);
  }

  std::shared_ptr<PatientDisk> disk;
  alignas(4096) std::array<std::byte, 4096> block;
  iovec piece;
};

std::shared_ptr<PatientDisk> PatientDisk::Create(std::shared_ptr<Disk> below, EventLoop* home, PatientPolicy policy,
                                                 Report report) {
  std::shared_ptr<PatientDisk> disk(new PatientDisk(std::move(below), home, policy, std::move(report)));
  disk->watch_->disk = disk;
  return disk;
}

PatientDisk::PatientDisk(std::shared_ptr<Disk> below, EventLoop* home, PatientPolicy policy, Report report)
    : WrappedDisk(std::move(below)),
      home_(home),
      report_(std::move(report)),
      policy_(policy),
      watch_(std::make_shared<Watch>()) {}

PatientDisk::~PatientDisk() {
  home_->Post([home = home_, watch = watch_] {
    home->CancelTimer(&watch->look);
    home->CancelTimer(&watch->retry);
  });
}

// ---- operations

void PatientDisk::Begin(EventLoop& loop, const DiskRequest& request, Completion* done) {
  const bool refused = refusing_.load(std::memory_order_relaxed) && request.op != DiskOp::kSync;
  if (refused) return loop.Complete(done, Status(EIO, "disk has failed"));
  if (!watching_.load(std::memory_order_relaxed) && !watching_.exchange(true)) KeepWatch();
  Attempt* attempt = ObjectPool<Attempt>::Take();
  attempt->disk = this;
  attempt->loop = &loop;
  attempt->done = done;
  attempt->request = request;
  Submit(attempt);
}

void PatientDisk::Submit(Attempt* attempt) {
  in_flight_.fetch_add(1);
  attempt->request.Submit(*below_, *attempt->loop, attempt);
}

void PatientDisk::OnEnd(Attempt* attempt, Status status) {
  in_flight_.fetch_sub(1);
  answered_.fetch_add(1);
  if (!status.ok()) {
    if (NoteFailure(attempt, status)) return;
  } else if (troubled_.load()) {
    NoteSuccess(attempt);
  }
  End(attempt, status);
}

// The last completion may end the disk's life: nothing of it is touched behind this.
void PatientDisk::End(Attempt* attempt, Status status) {
  Completion* done = attempt->done;
  attempt->again = false;
  attempt->failure = Status::Ok();
  ObjectPool<Attempt>::Give(attempt);
  done->Run(status);
}

void PatientDisk::NoteSuccess(Attempt* attempt) {
  std::lock_guard lock(mutex_);
  if (attempt->again) retrying_--;
  if (state_ != DiskState::kSuspended) return;
  if (held_.empty() && retrying_ == 0) return Resume();
  // Not for each of a thousand reads beside one write that finds no room.
  if (Clock::now() - retried_at_ >= policy_.retry_min) RetryHeld();
}

bool PatientDisk::NoteFailure(Attempt* attempt, Status status) {
  std::lock_guard lock(mutex_);
  if (attempt->again) retrying_--;
  attempt->failure = status;
  const bool retryable = IsRetryable(attempt->request.op, status.error(), keeps_unsynced());
  if (!retryable && attempt->request.op != DiskOp::kSync) return false;
  failure_ = status;
  failed_at_ = Clock::now();
  if (!retryable) {
    NoteFailedSync();
    return false;
  }
  if (!Holds(*attempt)) return false;
  if (state_ == DiskState::kOnline) Suspend(failed_at_);
  attempt->again = true;
  held_.push_back(attempt);
  ScheduleRetry();
  return true;
}

bool PatientDisk::Holds(const Attempt& attempt) const {
  if (surrendered_ || sync_failed_ || policy_.patience.count() == 0) return false;
  return state_ != DiskState::kFailed || attempt.request.op == DiskOp::kSync;
}

// Final: there is nothing to be patient for.
void PatientDisk::NoteFailedSync() {
  sync_failed_ = true;
  if (policy_.patience.count() == 0) return;
  if (state_ == DiskState::kOnline) since_ = failed_at_;
  if (state_ != DiskState::kFailed) GiveUp();
}

// ---- states

void PatientDisk::Suspend(Clock::time_point since) {
  state_ = DiskState::kSuspended;
  troubled_.store(true);
  since_ = since;
  backoff_ = policy_.retry_min;
  Tell();
}

void PatientDisk::GiveUp() {
  state_ = DiskState::kFailed;
  troubled_.store(true);
  refusing_.store(!sync_failed_ && IsConnectionError(failure_.error()));
  Tell();
  EndHeld(false);
}

void PatientDisk::Resume() {
  state_ = DiskState::kOnline;
  refusing_.store(false);
  troubled_.store(false);
  failure_ = Status::Ok();
  Tell();
  if (!held_.empty()) RetryHeld();
}

// Each ends on its own loop, as all operations do.
void PatientDisk::EndHeld(bool syncs_too) {
  auto stays = [syncs_too](Attempt* attempt) { return !syncs_too && attempt->request.op == DiskOp::kSync; };
  auto ending = std::stable_partition(held_.begin(), held_.end(), stays);
  for (auto at = ending; at != held_.end(); ++at) {
    Attempt* attempt = *at;
    attempt->loop->Post([attempt] { End(attempt, attempt->failure); });
  }
  held_.erase(ending, held_.end());
}

void PatientDisk::RetryHeld() {
  retried_at_ = Clock::now();
  retrying_ += held_.size();
  for (Attempt* attempt : std::exchange(held_, {})) {
    attempt->loop->Post([attempt] { attempt->disk->Submit(attempt); });
  }
}

void PatientDisk::ScheduleRetry() {
  if (std::exchange(retry_scheduled_, true)) return;
  milliseconds after = std::max(backoff_, policy_.retry_min);
  backoff_ = std::min(after * 2, policy_.retry_max);
  home_->Post([weak = weak_from_this(), after] {
    if (auto disk = weak.lock()) disk->home_->SetTimer(&disk->watch_->retry, after);
  });
}

DiskCondition PatientDisk::ConditionNow() const {
  DiskCondition condition;
  condition.state = state_;
  if (state_ == DiskState::kOnline) return condition;
  condition.error = failure_.error();
  condition.what = failure_.what();
  condition.held = held_.size() + retrying_;
  condition.failing = std::chrono::duration_cast<milliseconds>(Clock::now() - since_);
  if (state_ == DiskState::kSuspended) condition.patience_left = std::max(policy_.patience - condition.failing, milliseconds(0));
  return condition;
}

DiskCondition PatientDisk::condition() const {
  std::lock_guard lock(mutex_);
  return ConditionNow();
}

void PatientDisk::SetPatience(milliseconds patience) {
  std::lock_guard lock(mutex_);
  policy_.patience = patience;
  surrendered_ = false;
}

void PatientDisk::Surrender() {
  std::lock_guard lock(mutex_);
  surrendered_ = true;
  if (state_ == DiskState::kSuspended) GiveUp();
  EndHeld(true);
}

// ---- watching, on the home loop

// A look at a disk that nobody uses and nothing ails is its last until it is used again.
void PatientDisk::KeepWatch() {
  home_->Post([weak = weak_from_this()] {
    if (auto disk = weak.lock()) disk->home_->SetTimer(&disk->watch_->look, disk->policy_.look);
  });
}

void PatientDisk::Look() {
  const Clock::time_point now = Clock::now();
  std::unique_lock lock(mutex_);
  const bool silent = LookAtSilence(now);
  if (state_ == DiskState::kSuspended && now - since_ >= policy_.patience) {
    GiveUp();
  } else if (state_ == DiskState::kSuspended && !silent && held_.empty() && retrying_ == 0) {
    Resume();
  }
  const bool probe = state_ == DiskState::kFailed && !sync_failed_ && !std::exchange(probing_, true);
  const bool idle = state_ == DiskState::kOnline && in_flight_.load() == 0;
  lock.unlock();
  if (probe) {
    auto* read = new Probe(shared_from_this());
    below_->Read(*home_, 0, &read->piece, 1, read);
  }
  if (!idle) return home_->SetTimer(&watch_->look, policy_.look);
  watching_.store(false);
  // One that began between the two is watched as well.
  if (in_flight_.load() != 0 && !watching_.exchange(true)) KeepWatch();
}

// Whether operations wait and none of them was answered for too long; suspends the disk then.
bool PatientDisk::LookAtSilence(Clock::time_point now) {
  const uint64_t answered = answered_.load();
  const bool waiting = in_flight_.load() != 0;
  silent_ = waiting && answered == answered_before_ ? silent_ + policy_.look : milliseconds(0);
  answered_before_ = answered;
  if (silent_ < policy_.silence_max || policy_.patience.count() == 0) return false;
  if (state_ == DiskState::kOnline) {
    failure_ = Status(ETIMEDOUT, "no answer");
    failed_at_ = now;
    Suspend(now - silent_);
  }
  return true;
}

void PatientDisk::OnRetryDue() {
  std::lock_guard lock(mutex_);
  retry_scheduled_ = false;
  if (!held_.empty()) RetryHeld();
}

void PatientDisk::OnProbed(Status status) {
  std::lock_guard lock(mutex_);
  probing_ = false;
  if (state_ != DiskState::kFailed || sync_failed_ || surrendered_) return;
  const Clock::time_point now = Clock::now();
  if (!status.ok()) {
    failure_ = status;
    failed_at_ = now;
  } else if (now - failed_at_ >= policy_.calm) {
    silent_ = milliseconds(0);  // what is not answered yet has its time again
    Resume();
  }
}

}  // namespace varve
