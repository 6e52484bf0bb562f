// Life of a session: its requests, its phases, its end.
#include "nbd/session.h"

#include <ctime>
#include <span>
#include <utility>

namespace varve::nbd {
namespace {

// To a few milliseconds, and cheap enough for every request.
std::chrono::milliseconds MonotonicNow() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::chrono::milliseconds(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
}

}  // namespace
Session::Session(SessionParts parts)
    : parts_(std::move(parts)),
      replies_(parts_.loop, *parts_.transport, *this),
      received_(
          [](CountedCompletion* self, int64_t result) { static_cast<Received*>(self)->session->OnReceived(result); },
          this),
      memory_(
          &parts_.loop, [](MemoryWaiter* self) { static_cast<Memory*>(self)->session->OnMemoryGranted(); }, this),
      stall_timer_([](Timer* self) { static_cast<StallTimer*>(self)->session->OnStallTimer(); }, this) {}

Session::~Session() = default;

void Session::Start(std::string early, bool fenced) {
  fenced_ = fenced;
  early_ = std::move(early);
  NoteProgress();
  Consume();
}

void Session::OpenFence() {
  fenced_ = false;
  for (Request* request : std::exchange(held_, {})) SubmitWrite(request);
}

void Session::JoinFence(FenceHold hold) {
  if (phase_ <= Phase::kParking && !parts_.transport->PeerEnded()) {
    if (writes_in_flight_ > 0) holds_.push_back({std::move(hold), write_serial_, writes_in_flight_});
    return;
  }
  // Requests may still lie unread in the stream. All of them end before the newcomer's writes begin, which
  // must not wait for a client that no longer reads its replies.
  holds_to_end_.push_back(std::move(hold));
  // In another process it would not be known who waits for whom.
  if (phase_ == Phase::kParking) Drain("client closed the connection");
  // Between its end and its destruction a session arms nothing that could outlive it.
  if (phase_ != Phase::kEnded) parts_.loop.SetTimer(&stall_timer_, kStallMax);
}

void Session::Pause(FenceHold hold) {
  paused_ = true;
  if (submitted_ > 0) pause_holds_.push_back(std::move(hold));
  RecallHeld();
}

void Session::Resume(std::shared_ptr<BlockTarget> target) {
  parts_.target = std::move(target);
  paused_ = false;
  recall_ = phase_ != Phase::kOpen;
  for (Request* request : std::exchange(waiting_, {})) Submit(request);
}

void Session::Park() {
  if (phase_ != Phase::kOpen) return;
  if (paused_) return Abort("the service stopped while the export was paused");
  if (!holds_to_end_.empty() || parts_.transport->PeerEnded()) return Drain("client closed the connection");
  // Its payload was thrown away as it came, so nobody else could refuse it for what it is.
  if (filling_ != nullptr && !filling_->refusal.none()) return Drain("the service stopped in the middle of a refused request");
  phase_ = Phase::kParking;
  end_reason_ = "handed over to the next service";
  StopTaking();
  EndIfIdle();
}

ParkedSession Session::TakeParked() {
  ParkedSession parked;
  for (Request* request : std::exchange(carried_, {})) {
    AppendUnexecuted(*request, request->payload_bytes, &parked.unanswered);
    Recycle(request);
  }
  if (filling_ != nullptr) AppendUnexecuted(*filling_, filling_->payload_taken_bytes, &parked.unanswered);
  DropFilling();
  const std::span<const std::byte> input = input_.content();
  parked.unanswered.append(reinterpret_cast<const char*>(input.data()), input.size());
  parked.unanswered.append(early_, early_taken_);
  parked.transport = std::move(parts_.transport);
  return parked;
}

void Session::AppendUnexecuted(const Request& request, uint64_t payload_bytes, std::string* out) const {
  AppendRequestHeader(request.header, parts_.terms.framing, out);
  if (payload_bytes > 0) out->append(reinterpret_cast<const char*>(request.buffer.data), payload_bytes);
}

// The target gave it back undone, because there is no space; the next process tries again.
void Session::CarryOn(Request* request) {
  if (request->write_serial != 0) WriteEnded(request->write_serial);
  carried_.push_back(request);
  EndIfIdle();
}

void Session::Drain(const char* reason) { LeaveOpen(Phase::kDraining, reason); }

void Session::Abort(const char* reason) {
  if (phase_ == Phase::kDead || phase_ == Phase::kEnded) return;
  LeaveOpen(Phase::kDead, reason);
}

void Session::LeaveOpen(Phase phase, const char* reason) {
  if (phase_ <= Phase::kParking) end_reason_ = reason;
  if (phase_ < phase) phase_ = phase;
  StopTaking();
  if (!receiving_payload_) DropFilling();
  for (Request* request : std::exchange(carried_, {})) Recycle(request);
  if (phase_ == Phase::kDead) {
    parts_.transport->Cancel();
    for (Request* request : std::exchange(held_, {})) Recycle(request);
    for (Request* request : std::exchange(waiting_, {})) {
      if (request->write_serial != 0) WriteEnded(request->write_serial);
      Recycle(request);
    }
    replies_.Drop();
  }
  EndIfIdle();
}

// What waits for memory does not get it, what waits for space is taken back.
void Session::StopTaking() {
  if (memory_.waiting && parts_.budget.Cancel(&memory_)) memory_.waiting = false;
  ReturnGrant();
  RecallHeld();
}

bool Request::recalls() const { return session->recalls(); }

bool Request::LetWait() { return session->Keep(this); }

// False when too much waits already.
bool Session::Keep(Request* request) {
  const uint64_t bytes = request->overdraft ? request->room_bytes : request->charged_bytes;
  if (bytes == 0) return true;
  if (!parts_.waiting_budget.TryTake(bytes)) return false;
  request->kept_bytes = bytes;
  if (request->charged_bytes > 0) parts_.budget.Give(std::exchange(request->charged_bytes, 0));
  if (std::exchange(request->overdraft, false)) parts_.budget.GiveOverdraft();
  return true;
}

void Session::RecallHeld() {
  if (std::exchange(recall_, true) || submitted_ == 0) return;
  parts_.target->RecallHeld();
}

// Called wherever something pending has ended; ends the session when it was the last.
void Session::EndIfIdle() {
  if (phase_ == Phase::kOpen || phase_ == Phase::kEnded) return;
  if (in_flight_ > Unexecuted() || !replies_.idle() || memory_.waiting || next_turn_) return;
  const bool parking = phase_ == Phase::kParking;
  if (receiving_) {
    // Everything is answered; only now may the socket be disturbed.
    if (phase_ <= Phase::kDraining) parts_.transport->Cancel();
    if (!parking) phase_ = Phase::kDead;
    return;
  }
  phase_ = Phase::kEnded;
  parts_.loop.CancelTimer(&stall_timer_);
  if (parking) return parts_.host.SessionParked(this);
  parts_.host.SessionEnded(this);
}

// Requests that are in flight, but have nothing to end.
unsigned Session::Unexecuted() const {
  return static_cast<unsigned>(carried_.size()) + (filling_ != nullptr ? 1 : 0);
}

Request* Session::TakeRequest() {
  in_flight_++;
  parts_.record->in_flight.Add(1);
  if (!free_requests_.empty()) {
    Request* request = free_requests_.back();
    free_requests_.pop_back();
    return request;
  }
  requests_.push_back(std::make_unique<Request>([](Completion* self, Status status) {
    auto* request = static_cast<Request*>(self);
    request->session->OnTargetDone(request, status);
  }));
  Request* request = requests_.back().get();
  request->session = this;
  request->block.loop = &parts_.loop;
  request->block.done = request;
  request->block.holder = request;
  return request;
}

void Session::Recycle(Request* request) {
  parts_.buffers.Give(&request->buffer);
  in_flight_bytes_ -= std::exchange(request->room_bytes, 0);
  if (request->charged_bytes > 0) parts_.budget.Give(std::exchange(request->charged_bytes, 0));
  if (std::exchange(request->overdraft, false)) parts_.budget.GiveOverdraft();
  if (request->kept_bytes > 0) parts_.waiting_budget.Give(std::exchange(request->kept_bytes, 0));
  // A vector that held thousands of extents is not kept for a request of one.
  if (request->block.extents.capacity() > 64) std::vector<Extent>().swap(request->block.extents);
  request->reply.Clear();
  free_requests_.push_back(request);
  in_flight_--;
  parts_.record->in_flight.Subtract(1);
}

void Session::ReplySent(Request* request) { Recycle(request); }

void Session::SendEnded(int error) {
  NoteProgress();
  if (error != 0) Abort("client closed the connection with replies pending");
  if (phase_ == Phase::kOpen) {
    // What stood in the way may be gone.
    if (!receiving_) Consume();
  } else {
    EndIfIdle();
  }
}

void Session::NoteProgress() { last_progress_ = MonotonicNow(); }

bool Session::IdleTooLong() const { return MonotonicNow() - last_progress_ >= kStallMax; }

void Session::AbortIfStalled() {
  const bool waits_for_client = replies_.sending() || (filling_ != nullptr && receiving_);
  if (in_flight_bytes_ > 0 && waits_for_client && IdleTooLong()) Abort("client stalled while memory was short");
}

void Session::OnStallTimer() {
  if (phase_ == Phase::kEnded || phase_ == Phase::kDead) return;
  if (memory_.waiting) parts_.host.MemoryWantedBack();
  if (!holds_to_end_.empty() && replies_.sending() && IdleTooLong()) {
    return Abort("client that had hung up did not read its replies");
  }
  if (memory_.waiting || !holds_to_end_.empty()) parts_.loop.SetTimer(&stall_timer_, kStallMax);
}

}  // namespace varve::nbd
