#include "journal/ring_writer.h"

#include <algorithm>
#include <array>
#include <utility>

namespace varve {

// What is written, for as long as some replica has not answered.
struct RingWriter::Step {
  std::vector<uint8_t> bytes;
  // One run, or two where the step wraps around the ring's end, and their places in the ring.
  std::vector<iovec> runs;
  std::vector<uint64_t> places;
  std::function<void(Status)> done;
  std::vector<Part*> parts;  // of the replicas that belong to it
  uint64_t end;              // ring position
  uint64_t free_until;       // from the end up to there is nothing in the ring
  bool late = false;
};

// One replica's part of a step. Lives until it has ended, longer than the step if need be.
struct RingWriter::Part : Completion {
  enum class State { kWriting, kFilling, kSyncing, kDone };

  Part(RingWriter* of, std::shared_ptr<Step> step, const JournalReplica& replica)
      : Completion(&OnIo), writer(of), step(std::move(step)), replica(replica) {}
  static void OnIo(Completion* self, Status status) {
    auto* part = static_cast<Part*>(self);
    part->writer->OnPart(part, status);
  }

  RingWriter* const writer;
  std::shared_ptr<Step> step;
  const JournalReplica replica;
  State state = State::kWriting;
  size_t expected = 0;
  Status status{};
};

RingWriter::RingWriter(EventLoop* home, DiskTable* disks, OnLag on_lag)
    : home_(home), disks_(disks), on_lag_(std::move(on_lag)) {}

RingWriter::~RingWriter() = default;

void RingWriter::Open(std::vector<JournalReplica> replicas, uint64_t ring_bytes) {
  replicas_ = std::move(replicas);
  ring_bytes_ = ring_bytes;
  ground_.Open(home_, ring_bytes);
}

void RingWriter::Write(uint64_t position, std::vector<uint8_t> bytes, uint64_t free_until, std::function<void(Status)> done) {
  step_ = std::make_shared<Step>();
  step_->end = position + bytes.size();
  step_->free_until = free_until;
  step_->bytes = std::move(bytes);
  step_->done = std::move(done);
  for (uint64_t at = 0; at < step_->bytes.size();) {
    const uint64_t place = (position + at) % ring_bytes_;
    const uint64_t length = std::min(step_->bytes.size() - at, ring_bytes_ - place);
    step_->runs.push_back({step_->bytes.data() + at, length});
    step_->places.push_back(place);
    at += length;
  }
  for (const JournalReplica& replica : replicas_) {
    auto* part = new Part(this, step_, replica);
    step_->parts.push_back(part);
    part->expected = step_->runs.size();
    Hold(replica.disk);
    for (size_t i = 0; i < step_->runs.size(); i++) {
      disks_->at(replica.disk)->Write(*home_, replica.offset + step_->places[i], &step_->runs[i], 1, part);
    }
  }
  home_->SetTimer(&late_, kReplicaPatience);
}

void RingWriter::OnPart(Part* part, Status status) {
  if (!status.ok()) part->status = status;
  if (--part->expected != 0) return;
  // Nobody waits for it any more: the step went on, and may have ended.
  const bool forsaken = std::find(part->step->parts.begin(), part->step->parts.end(), part) == part->step->parts.end();
  const bool goes_on = part->state != Part::State::kSyncing && part->status.ok() && !forsaken && !given_up_;
  if (goes_on) return GoOn(part);
  part->state = Part::State::kDone;
  const unsigned disk = part->replica.disk;
  if (forsaken) delete part;
  Release(disk);
  if (!forsaken) Look();
}

// Behind the record, and behind what is filled.
void RingWriter::GoOn(Part* part) {
  const unsigned number = part->replica.disk;
  part->expected = 1;
  if (part->state == Part::State::kWriting && !ground_.Knows(number, part->step->end)) {
    part->state = Part::State::kFilling;
    return ground_.Prepare({number, disks_->at(number), part->replica.offset}, part->step->end, part->step->free_until, part);
  }
  part->state = Part::State::kSyncing;
  disks_->at(number)->Sync(*home_, part);
}

// Whether the step has ended, or somebody is to know why it has not.
void RingWriter::Look() {
  size_t waiting = 0, good = 0;
  Status failure;
  for (const Part* part : step_->parts) {
    if (part->state != Part::State::kDone) waiting++;
    else if (part->status.ok()) good++;
    else failure = part->status;
  }
  if (good == step_->parts.size()) return Finish(Status::Ok());
  if (waiting == 0 && (good == 0 || given_up_)) return Finish(failure);
  if (good != 0 && (step_->late || !failure.ok())) Report();
}

void RingWriter::OnLate() {
  if (!step_) return;
  step_->late = true;
  home_->SetTimer(&late_, kReplicaPatience);  // whoever could not help then is told again
  Look();
}

void RingWriter::Report() {
  std::vector<LaggingReplica> lagging;
  for (const Part* part : step_->parts) {
    const bool answered = part->state == Part::State::kDone;
    if (answered ? !part->status.ok() : step_->late) lagging.push_back({part->replica.disk, part->status});
  }
  on_lag_(std::move(lagging));
}

void RingWriter::Finish(Status status) {
  std::shared_ptr<Step> step = std::exchange(step_, nullptr);
  home_->CancelTimer(&late_);
  for (Part* part : std::exchange(step->parts, {})) delete part;  // each has ended
  std::exchange(step->done, nullptr)(status);
}

void RingWriter::End(unsigned disk, std::function<void()> ended) {
  std::erase_if(replicas_, [disk](const JournalReplica& replica) { return replica.disk == disk; });
  ground_.Forget(disk);
  ended_.emplace(disk, std::move(ended));
  if (!busy(disk)) {
    Hold(disk);
    home_->Post([this, disk] { Release(disk); });
  }
  if (!step_) return;
  auto part = std::find_if(step_->parts.begin(), step_->parts.end(), [disk](const Part* p) { return p->replica.disk == disk; });
  if (part == step_->parts.end()) return;
  if ((*part)->state == Part::State::kDone) delete *part;
  step_->parts.erase(part);
  LookSoon();
}

// Not on the caller's stack, who may be in the middle of something.
void RingWriter::LookSoon() {
  home_->Post([this, step = step_] {
    if (step && step == step_) Look();
  });
}

void RingWriter::GiveUp() {
  given_up_ = true;
  ground_.GiveUp();
  LookSoon();
}

void RingWriter::Release(unsigned disk) {
  if (--busy_[disk] != 0) return;
  busy_.erase(disk);
  auto [first, last] = ended_.equal_range(disk);
  std::vector<std::function<void()>> ended;
  for (auto at = first; at != last; ++at) ended.push_back(std::move(at->second));
  ended_.erase(first, last);
  for (auto& tell : ended) tell();
  if (busy_.empty() && idle_) std::exchange(idle_, nullptr)();
}

void RingWriter::WhenIdle(std::function<void()> idle) {
  if (busy_.empty()) return idle();
  idle_ = std::move(idle);
}

}  // namespace varve
