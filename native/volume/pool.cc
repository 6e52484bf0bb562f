#include "volume/pool.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "io/absent_disk.h"

namespace varve {

Pool::Pool(std::vector<EventLoop*> loops, EventLoop* home, unsigned cluster_bytes, PoolObserver* observer)
    : home_(home),
      observer_(observer),
      cluster_shift_(static_cast<unsigned>(std::countr_zero(cluster_bytes))),
      latencies_(loops),
      admissions_(std::move(loops), home),
      journal_(home, &disks_, this) {
  disks_.Add(kNowhere, std::make_shared<AbsentDisk>(UINT64_MAX));
  for (unsigned group = 0; group < kGrantGroups; group++) {
    grants_.emplace_back([observer, group](uint64_t clusters) { observer->OnGrantLow(group, clusters); },
                         [observer] { observer->OnWriterHeld(); });
  }
}

uint64_t Pool::HeldWriters() {
  uint64_t count = 0;
  for (Grants& grants : grants_) count += grants.held();
  return count;
}

std::vector<ClusterRun> Pool::TakeBackOn(unsigned disk) {
  std::vector<ClusterRun> taken;
  for (Grants& grants : grants_) {
    for (const ClusterRun& run : grants.TakeBackOn(disk)) taken.push_back(run);
  }
  return taken;
}

void Pool::OnDurable(DurableRecord record) {
  // A batch's operations are the control plane's secret: any of them may release.
  bool releases = record.token != 0 || std::any_of(record.deltas.begin(), record.deltas.end(),
                                                   [](const Delta& delta) { return !delta.released().none(); });
  if (releases) releasing_sequence_ = record.sequence;
  observer_->OnDurable(std::move(record));
  if (releases && !admissions_.busy()) StartGrace();
}

void Pool::StartGrace() {
  grace_sequence_ = releasing_sequence_;
  admissions_.AfterAll([this, waiters = std::exchange(grace_waiters_, {})] {
    observer_->OnSafe(grace_sequence_);
    for (auto& done : waiters) done();
    if (releasing_sequence_ > grace_sequence_ || !grace_waiters_.empty()) return StartGrace();
    MaybeClosed();
  });
}

void Pool::AfterAdmitted(std::function<void()> done) {
  home_->Post([this, done = std::move(done)]() mutable {
    grace_waiters_.push_back(std::move(done));
    if (!admissions_.busy()) StartGrace();
  });
}

void Pool::RemoveDisk(unsigned number, std::function<void()> done) {
  AfterAdmitted([this, number, done = std::move(done)]() mutable { journal_.RemoveDisk(number, std::move(done)); });
}

void Pool::WaitForRoom(std::function<void()> retry) {
  {
    std::lock_guard lock(mutex_);
    room_waiters_.push_back(std::move(retry));
  }
  // Room comes only from rounds; one may have ended just now.
  journal_.RequestRound();
}

void Pool::OnRoundEnd() {
  std::vector<std::function<void()>> waiters;
  {
    std::lock_guard lock(mutex_);
    waiters = std::exchange(room_waiters_, {});
  }
  for (auto& retry : waiters) retry();
}

void Pool::Stop(Status status, bool fenced) {
  if (fenced) fenced_.store(true);
  journal_.Stop(status);
  // Behind the stop, which may wait for a disk before it tells.
  home_->Post([this] { RefuseHeld(); });
}

void Pool::OnJournalFailed(Status status) {
  RefuseHeld();
  observer_->OnFailed(status);
}

void Pool::RefuseHeld() {
  for (Grants& grants : grants_) grants.Retry();
}

void Pool::Close(std::function<void()> done) {
  home_->Post([this, done = std::move(done)]() mutable {
    closed_ = std::move(done);
    journal_closed_ = false;
    journal_.Close([this] {
      journal_closed_ = true;
      MaybeClosed();
    });
  });
}

void Pool::MaybeClosed() {
  if (closed_ && journal_closed_ && !admissions_.busy()) std::exchange(closed_, nullptr)();
}

}  // namespace varve
