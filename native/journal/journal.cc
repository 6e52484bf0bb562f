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
      syncs_(home, disks, [this](Status status) { OnLateSync(status); }),
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
    std::move(batches_.begin(), batches_.end(), std::back_inserter(round_batches_));
    batches_.clear();
  }
  syncs_.Start(started_.load(), [this](Status status) {
    if (stop_.ok() && status.ok()) return NextStep();
    Fail(stop_.ok() ? status : stop_);
  });
}

void Journal::OnLateSync(Status status) {
  if (!failed()) return status.ok() ? RequestRound() : StopNow(status);
  if (!running_) GoOn();  // whoever closes has waited for it
}

// A round writes its records in steps that fit the ring comfortably.
void Journal::NextStep() {
  if (EncodeStep()) return WriteStep();
  if (!waiting_for_room_) EndRound();
}

size_t Journal::DeltasPerStep() const {
  uint64_t bytes = std::min<uint64_t>(kRecordPayloadBytesMax, spec_.ring_bytes / 4 - kJournalBlockBytes);
  return (bytes - sizeof(uint64_t)) / sizeof(Delta);
}

// Encodes the next record: changes that were held and need not be any more, or sealed ones up to the next batch, or that batch.
// False when there is none, or no room for it.
bool Journal::EncodeStep() {
  step_bytes_.clear();
  const std::vector<SerialDelta> ready = held_.Ready(DeltasPerStep(), blocks_);
  if (!ready.empty()) {
    if (HasRoom(DeltasPayloadBytes(ready.size()))) EncodeApart(ready);
    return !waiting_for_room_;
  }
  while (!waiting_for_room_) {
    const bool batch_is_next = !round_batches_.empty() && !syncs_.any_behind();
    if (batch_is_next && round_batches_.front().after_serial <= taken_serial_) return EncodeBatch();
    const uint64_t wanted = batch_is_next ? round_batches_.front().after_serial : sealed_serial_;
    const uint64_t through = std::min<uint64_t>(wanted, taken_serial_ + DeltasPerStep());
    if (through == taken_serial_) return false;
    if (EncodeSealed(through)) return true;
  }
  return false;
}

bool Journal::HasRoom(size_t payload_bytes) {
  if (spec_.head + RecordBytes(payload_bytes) - spec_.tail <= spec_.ring_bytes) return true;
  waiting_for_room_ = true;
  observer_->OnJournalFull();
  return false;
}

bool Journal::EncodeBatch() {
  if (!HasRoom(round_batches_.front().payload.size())) return false;
  Batch batch = std::move(round_batches_.front());
  round_batches_.pop_front();
  Written written = {};
  written.durable.token = batch.token;
  written.done = std::move(batch.done);
  EncodeRecord(batch.kind, NextPlace(), batch.payload, &step_bytes_);
  AddStep(std::move(written));
  return true;
}

// False also when all of them are held.
bool Journal::EncodeSealed(uint64_t through) {
  if (!HasRoom(DeltasPayloadBytes(through - taken_serial_))) return false;
  const uint64_t first = std::exchange(taken_serial_, through) + 1;
  std::vector<Delta> sealed;
  pending_.Read(first - 1, through, &sealed);
  if (held_.empty() && !syncs_.any_behind()) {
    EncodeDeltas(through, std::move(sealed), {});
    return true;
  }
  const std::vector<SerialDelta> passed = held_.Pass(first, sealed, started_.load(), blocks_);
  if (!passed.empty()) EncodeApart(passed);
  return !passed.empty();
}

// Some before or among them are held: without serials, because a later life takes up what lies above the last serial in the ring.
void Journal::EncodeApart(const std::vector<SerialDelta>& apart) {
  std::vector<Delta> deltas;
  std::vector<uint64_t> serials;
  for (const SerialDelta& each : apart) {
    deltas.push_back(each.delta);
    serials.push_back(each.serial);
  }
  EncodeDeltas(0, std::move(deltas), std::move(serials));
}

void Journal::EncodeDeltas(uint64_t last_serial, std::vector<Delta> deltas, std::vector<uint64_t> apart) {
  EncodeDeltasRecord(NextPlace(), last_serial == 0 ? 0 : last_serial - deltas.size() + 1, deltas, &step_bytes_);
  Written written = {};
  written.durable.serial = last_serial;
  written.durable.deltas = std::move(deltas);
  written.apart = std::move(apart);
  AddStep(std::move(written));
}

// The record's bytes are in step_bytes_.
void Journal::AddStep(Written written) {
  spec_.head += step_bytes_.size();
  written.durable.sequence = spec_.sequence++;
  written.durable.head = spec_.head;
  step_records_.push_back(std::move(written));
}

void Journal::WriteStep() {
  const uint64_t position = spec_.head - step_bytes_.size();
  ring_.Write(position, std::exchange(step_bytes_, {}), spec_.tail + spec_.ring_bytes,
              [this](Status status) { FinishStep(stop_.ok() ? status : stop_); });
}

void Journal::FinishStep(Status status) {
  if (!status.ok()) return Fail(status);
  for (Written& written : std::exchange(step_records_, {})) {
    uint64_t sequence = written.durable.sequence;
    if (!written.durable.deltas.empty()) SettleSerials(written);
    observer_->OnDurable(std::move(written.durable));
    published_sequence_.store(sequence);
    published_serial_.store(held_.empty() ? taken_serial_ : held_.first_serial() - 1);
    if (written.done) written.done(Status::Ok(), sequence);
  }
  NextStep();
}

// Which changes a later life need not take up.
void Journal::SettleSerials(const Written& written) {
  held_.Forget(written.apart);
  if (held_.empty()) pending_.SetDurable(taken_serial_);
  else pending_.SetDurableApart(held_.first_serial() - 1, written.apart);
}

void Journal::EndRound() {
  running_ = false;
  if (!syncs_.any_behind()) ended_.store(started_.load());
  AnswerWaiters([this, round = started_.load()](const FlushWait& wait) { return wait.round <= round && syncs_.Covers(wait); },
                Status::Ok());
  observer_->OnRoundEnd();
  GoOn();
}

// What is due between two rounds, then the next one.
void Journal::GoOn() {
  if (WorkBetweenRounds()) return;
  if (!failed() && IsMoreWaiting()) return StartRound();
  if (closed_ && !syncs_.any_under_way() && (failed() || !syncs_.any_behind())) EndClose();
}

// What has waited for the last round waits for a disk now, and not for the next round.
bool Journal::IsMoreWaiting() {
  std::lock_guard lock(mutex_);
  const auto is_later = [round = started_.load()](const FlushWait* wait) { return wait->round > round; };
  return !batches_.empty() || std::any_of(waiters_.begin(), waiters_.end(), is_later);
}

void Journal::BetweenRounds(std::function<void(std::function<void()>)> work) { AddWork({std::nullopt, std::move(work)}); }

void Journal::RemoveDisk(unsigned disk, std::function<void()> done) {
  AddWork({disk, [this, disk, done = std::move(done)](std::function<void()> resume) {
             disks_->Remove(disk);
             done();
             resume();
           }});
}

void Journal::AddWork(BetweenWork work) {
  home_->Post([this, work = std::move(work)]() mutable {
    between_rounds_.push_back(std::move(work));
    if (!running_) WorkBetweenRounds();
  });
}

// False: there is nothing that can be done now.
bool Journal::WorkBetweenRounds() {
  const auto next = std::find_if(between_rounds_.begin(), between_rounds_.end(), [this](const BetweenWork& work) {
    return !work.disk || !(failed() ? syncs_.IsUnderWay(*work.disk) : syncs_.IsBehind(*work.disk));
  });
  if (next == between_rounds_.end()) return false;
  running_ = true;
  const auto run = std::move(next->run);
  between_rounds_.erase(next);
  run([this, had_failed = failed()] {
    running_ = false;
    if (failed() && !had_failed) return Fail(stop_);  // stopped meanwhile
    if (failed()) RefuseAll(Status(EIO, "journal"));  // who has come meanwhile
    // Whoever closes has waited for this: what is pending is made durable first.
    if (closed_ && between_rounds_.empty() && !failed()) return StartRound();
    GoOn();
  });
  return true;
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

void Journal::AnswerWaiters(const std::function<bool(const FlushWait&)>& is_due, Status status) {
  std::vector<FlushWait*> ready;
  {
    std::lock_guard lock(mutex_);
    auto due = std::partition(waiters_.begin(), waiters_.end(), [&](const FlushWait* wait) { return !is_due(*wait); });
    ready.assign(due, waiters_.end());
    waiters_.erase(due, waiters_.end());
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
  AnswerWaiters([](const FlushWait&) { return true; }, Status(EIO, "journal"));
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
    if (!failed()) StopNow(status);
  });
}

void Journal::StopNow(Status status) {
  failed_.store(true);
  stop_ = status;
  ring_.GiveUp();
  if (!running_ || waiting_for_room_) Fail(status);  // else at the end of what is submitted
}

void Journal::Close(std::function<void()> done) {
  home_->Post([this, done = std::move(done)]() mutable {
    closed_ = std::move(done);
    if (running_) return;  // closed by the end of the round
    if (failed()) return GoOn();
    StartRound();  // makes the rest durable, then EndRound closes
  });
}

}  // namespace varve
