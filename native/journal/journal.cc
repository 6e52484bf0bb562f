#include "journal/journal.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "journal/ring_copy.h"

namespace varve {

Journal::Journal(EventLoop* home, DiskTable* disks, JournalObserver* observer)
    : home_(home),
      disks_(disks),
      observer_(observer),
      ring_(home, disks, [observer](std::vector<LaggingReplica> lagging) { observer->OnReplicasLag(std::move(lagging)); }) {}

Status Journal::Open(const JournalSpec& spec) {
  spec_ = spec;
  ring_.Open(spec.replicas, spec.ring_bytes);
  return pending_.Open(spec.pending_log_path, spec.pool_uuid, spec.epoch);
}

uint64_t Journal::Append(const Delta& delta) {
  uint64_t serial = pending_.Append(delta);
  ArmWindow();
  if (pending_.half_full()) RequestRound();
  return serial;
}

void Journal::NoteWrite(unsigned disk) {
  disks_->MarkDirty(disk);
  ArmWindow();
}

void Journal::ArmWindow() {
  if (window_armed_.load() || window_armed_.exchange(true)) return;
  home_->Post([this] {
    if (!window_armed_.load() || closed_) return;  // a round has begun since
    home_->SetTimer(&window_, std::chrono::milliseconds(spec_.window_ms));
  });
}

void Journal::WindowTimer::OnTimer(Timer* self) {
  Journal* journal = static_cast<WindowTimer*>(self)->owner;
  // A round that began before these changes does not cover them: look again after it.
  if (journal->running_) return journal->home_->SetTimer(self, std::chrono::milliseconds(journal->spec_.window_ms));
  journal->StartRound();
}

void Journal::WaitForRound(FlushWait* wait) {
  {
    std::lock_guard lock(mutex_);
    waiters_.push_back(wait);
  }
  RequestRound();
}

void Journal::AppendRecord(RecordKind kind, std::vector<uint8_t> payload, uint64_t token,
                           std::function<void(Status, uint64_t)> done) {
  {
    std::lock_guard lock(mutex_);
    batches_.push_back({kind, std::move(payload), token, pending_.Seal(), std::move(done)});
  }
  RequestRound();
}

void Journal::RequestRound() {
  if (round_requested_.exchange(true)) return;
  home_->Post([this] {
    round_requested_.store(false);
    StartRound();
  });
}

void Journal::StartRound() {
  if (running_) return;  // EndRound looks for more to do
  if (failed()) return RefuseAll(Status(EIO, "journal"));
  running_ = true;
  window_armed_.store(false);
  home_->CancelTimer(&window_);
  started_.fetch_add(1);
  SyncData();
}

// Rule 1: what is sealed here points to data whose write completed before, so the syncs cover it.
void Journal::SyncData() {
  {
    std::lock_guard lock(mutex_);
    sealed_serial_ = pending_.Seal();
    round_batches_ = std::exchange(batches_, {});
  }
  std::vector<unsigned> dirty = disks_->TakeDirty();
  Expect(static_cast<unsigned>(dirty.size()), &Journal::NextStep);
  for (unsigned number : dirty) disks_->at(number)->Sync(*home_, &io_);
  if (dirty.empty()) NextStep();
}

// A round writes its records in steps that fit the ring comfortably.
void Journal::NextStep() {
  if (!step_status_.ok()) return Fail(step_status_);
  if (committed_serial_ == sealed_serial_ && round_batches_.empty()) return EndRound();
  if (EncodeStep()) WriteStep();
}

size_t Journal::DeltasPerStep() const {
  uint64_t bytes = std::min<uint64_t>(kRecordPayloadBytesMax, spec_.ring_bytes / 4 - kJournalBlockBytes);
  return (bytes - sizeof(uint64_t)) / sizeof(Delta);
}

// Encodes the next record (deltas up to the next batch, or that batch). False when the ring has no room.
bool Journal::EncodeStep() {
  uint64_t through = sealed_serial_;
  if (!round_batches_.empty()) through = std::min(through, round_batches_.front().after_serial);
  through = std::min<uint64_t>(through, committed_serial_ + DeltasPerStep());
  bool is_batch = through == committed_serial_;
  size_t payload_bytes =
      is_batch ? round_batches_.front().payload.size() : sizeof(uint64_t) + (through - committed_serial_) * sizeof(Delta);
  if (spec_.head + RecordBytes(payload_bytes) - spec_.tail > spec_.ring_bytes) {
    waiting_for_room_ = true;
    observer_->OnJournalFull();
    return false;
  }

  step_bytes_.clear();
  Written written = {};
  RecordPlace place = {spec_.pool_uuid, spec_.epoch, spec_.sequence, spec_.head};
  if (is_batch) {
    Batch batch = std::move(round_batches_.front());
    round_batches_.pop_front();
    EncodeRecord(batch.kind, place, batch.payload, &step_bytes_);
    written.durable.token = batch.token;
    written.done = std::move(batch.done);
    if (batch.kind == RecordKind::kDeltas) {
      // Recovered changes of an earlier life: they carry serials of that life, which are not ours to publish.
      written.durable.deltas.resize((batch.payload.size() - sizeof(uint64_t)) / sizeof(Delta));
      std::memcpy(written.durable.deltas.data(), batch.payload.data() + sizeof(uint64_t),
                  written.durable.deltas.size() * sizeof(Delta));
    }
  } else {
    pending_.Read(committed_serial_, through, &written.durable.deltas);
    EncodeDeltasRecord(place, committed_serial_ + 1, written.durable.deltas, &step_bytes_);
    written.durable.serial = through;
  }
  spec_.head += step_bytes_.size();
  written.durable.sequence = spec_.sequence++;
  written.durable.head = spec_.head;
  step_records_.push_back(std::move(written));
  return true;
}

void Journal::WriteStep() {
  const uint64_t position = spec_.head - step_bytes_.size();
  ring_.Write(position, std::exchange(step_bytes_, {}), [this](Status status) { FinishStep(stop_.ok() ? status : stop_); });
}

void Journal::FinishStep(Status status) {
  if (!status.ok()) return Fail(status);
  for (Written& written : std::exchange(step_records_, {})) {
    uint64_t serial = written.durable.serial;
    uint64_t sequence = written.durable.sequence;
    if (serial != 0) {
      committed_serial_ = serial;
      pending_.SetDurable(serial);
    }
    observer_->OnDurable(std::move(written.durable));
    published_sequence_.store(sequence);
    if (serial != 0) published_serial_.store(serial);
    if (written.done) written.done(Status::Ok(), sequence);
  }
  NextStep();
}

void Journal::EndRound() {
  running_ = false;
  ended_.store(started_.load());
  AnswerWaiters(ended_.load(), Status::Ok());
  observer_->OnRoundEnd();
  GoOn();
}

// What is due between two rounds, then the next one.
void Journal::GoOn() {
  if (!between_rounds_.empty()) return WorkBetweenRounds();
  if (!failed() && IsMoreWaiting()) return StartRound();
  if (closed_) EndClose();
}

bool Journal::IsMoreWaiting() {
  std::lock_guard lock(mutex_);
  return !waiters_.empty() || !batches_.empty();
}

void Journal::BetweenRounds(std::function<void(std::function<void()>)> work) {
  home_->Post([this, work = std::move(work)]() mutable {
    between_rounds_.push_back(std::move(work));
    if (!running_) WorkBetweenRounds();
  });
}

void Journal::WorkBetweenRounds() {
  running_ = true;
  auto work = std::move(between_rounds_.front());
  between_rounds_.pop_front();
  work([this, had_failed = failed()] {
    running_ = false;
    if (failed() && !had_failed) return Fail(stop_);  // stopped meanwhile
    if (failed()) RefuseAll(Status(EIO, "journal"));  // who has come meanwhile
    // Whoever closes has waited for this: what is pending is made durable first.
    if (closed_ && between_rounds_.empty() && !failed()) return StartRound();
    GoOn();
  });
}

void Journal::BeginReplica(const JournalReplica& replica, std::function<void(Status)> done) {
  BetweenRounds([this, replica, done = std::move(done)](std::function<void()> resume) {
    auto end = [this, replica, done, resume](Status status) {
      if (status.ok() && failed()) status = Status(EIO, "journal");
      if (status.ok()) ring_.Add(replica);
      done(status);
      resume();
    };
    if (failed()) return end(Status(EIO, "journal"));
    if (ring_.busy(replica.disk)) return end(Status(EBUSY, "ring"));
    ring_.Hold(replica.disk);
    const JournalReplica& good = ring_.replicas().front();
    RingCopy::Start(home_, {disks_->at(good.disk), good.offset}, {disks_->at(replica.disk), replica.offset}, spec_.ring_bytes,
                    spec_.tail, spec_.head, {end, [this, disk = replica.disk] { ring_.Release(disk); }});
  });
}

void Journal::EndReplica(unsigned disk, std::function<void()> done) {
  home_->Post([this, disk, done = std::move(done)]() mutable { ring_.End(disk, std::move(done)); });
}

void Journal::AnswerWaiters(uint64_t round, Status status) {
  std::vector<FlushWait*> ready;
  {
    std::lock_guard lock(mutex_);
    auto waits = std::partition(waiters_.begin(), waiters_.end(), [round](FlushWait* w) { return w->round > round; });
    ready.assign(waits, waiters_.end());
    waiters_.erase(waits, waiters_.end());
  }
  for (FlushWait* wait : ready) {
    if (wait->loop == home_) {
      wait->done->Run(status);
    } else {
      wait->loop->Post([wait, status] { wait->done->Run(status); });
    }
  }
}

void Journal::Fail(Status status) {
  running_ = false;
  waiting_for_room_ = false;
  failed_.store(true);
  pending_.Invalidate();
  observer_->OnJournalFailed(status);
  RefuseAll(status);
  GoOn();
}

// Nothing that waits for a failed journal waits any longer, whether it came before the failure or after.
void Journal::RefuseAll(Status status) {
  std::vector<Written> records = std::exchange(step_records_, {});
  std::deque<Batch> batches = std::exchange(round_batches_, {});
  {
    std::lock_guard lock(mutex_);
    for (Batch& batch : std::exchange(batches_, {})) batches.push_back(std::move(batch));
  }
  for (Written& written : records) {
    if (written.done) written.done(status, 0);
  }
  for (Batch& batch : batches) batch.done(status, 0);
  AnswerWaiters(UINT64_MAX, Status(EIO, "journal"));
  observer_->OnRoundEnd();
}

// No timer outlives the journal.
void Journal::EndClose() {
  home_->CancelTimer(&window_);
  // Nothing may fall on a ring that somebody else has opened meanwhile.
  ring_.WhenIdle([this] { std::exchange(closed_, nullptr)(); });
}

void Journal::Trim(uint64_t tail) {
  home_->Post([this, tail] {
    spec_.tail = std::max(spec_.tail, tail);
    if (!waiting_for_room_) return;
    waiting_for_room_ = false;
    NextStep();
  });
}

void Journal::Stop(Status status) {
  home_->Post([this, status] {
    if (failed()) return;
    failed_.store(true);
    stop_ = status;
    ring_.GiveUp();
    if (!running_ || waiting_for_room_) Fail(status);  // else at the end of what is submitted
  });
}

void Journal::Close(std::function<void()> done) {
  home_->Post([this, done = std::move(done)]() mutable {
    closed_ = std::move(done);
    if (running_) return;  // closed by the end of the round
    if (failed()) return EndClose();
    StartRound();  // makes the rest durable, then EndRound closes
  });
}

void Journal::Expect(unsigned count, void (Journal::*then)()) {
  expected_ = count;
  step_status_ = Status::Ok();
  then_ = then;
}

void Journal::IoCompletion::OnIo(Completion* self, Status status) {
  static_cast<IoCompletion*>(self)->owner->OnIoDone(status);
}

void Journal::OnIoDone(Status status) {
  if (!status.ok()) step_status_ = status;
  if (--expected_ != 0) return;
  if (!stop_.ok()) step_status_ = stop_;
  (this->*then_)();
}

}  // namespace varve
