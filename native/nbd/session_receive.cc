// Receiving: from bytes to whole requests, within bounds.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "nbd/session.h"

namespace varve::nbd {
namespace {

// Memory of a payload is charged in such steps. Small enough that thousands of
// clients that announce and stall hold little, large enough to be rare.
constexpr uint64_t kChargeStepBytes = uint64_t{256} << 10;
// A shorter rest of a payload is received together with what follows it.
constexpr uint64_t kDirectBytesMin = uint64_t{16} << 10;
// From here on a payload is worth a receive of its own.
constexpr uint64_t kLargePayloadBytes = uint64_t{64} << 10;
// After a large payload the next receive takes little more than a header: if another such
// payload follows, nearly all of it goes straight to its place instead of through the buffer.
constexpr size_t kReceiveBytesBetweenLarge = 4096;
bool NeedsBuffer(const RequestHeader& header) {
  return header.command == Command::kRead || header.command == Command::kWrite;
}

uint64_t RoomBytes(const RequestHeader& header, const Refusal& refusal) {
  if (!refusal.none()) return 0;
  if (NeedsBuffer(header)) return header.length;
  return header.command == Command::kBlockStatus ? Session::kStatusExtentsMax * Session::kStatusExtentBytes : 0;
}

uint64_t FirstCharge(const RequestHeader& header, uint64_t room_bytes) {
  return header.command == Command::kWrite ? std::min(room_bytes, kChargeStepBytes) : room_bytes;
}

}  // namespace

void Session::Consume() {
  if (next_turn_) return;
  if (turn_ns_ != parts_.loop.turn_started_ns) {
    turn_ns_ = parts_.loop.turn_started_ns;
    turn_bytes_ = 0;
  }
  while (phase_ == Phase::kOpen) {
    if (turn_bytes_ >= kTurnBytesMax) return ConsumeNextTurn();
    if (!(filling_ != nullptr ? TakePayload() : TakeHeader())) break;
  }
  if (phase_ == Phase::kOpen) Receive();
}

// Large requests are read and answered few at a time: their memory is still in the processor's caches when it is sent, the client has
// something to do meanwhile, and so have other connections.
void Session::ConsumeNextTurn() {
  next_turn_ = true;
  parts_.loop.Post([this] {
    next_turn_ = false;
    turn_bytes_ = 0;
    if (phase_ == Phase::kOpen) Consume();
    else EndIfIdle();
  });
}

// False when nothing can be done before something else happens.
bool Session::TakeHeader() {
  const size_t header_bytes = RequestHeaderBytes(parts_.terms.framing);
  if (input_.size() < header_bytes) return false;
  RequestHeader header;
  if (!DecodeRequestHeader(input_.content().data(), parts_.terms.framing, &header)) {
    Abort("bad request magic");
    return false;
  }
  if (header.command == Command::kDisconnect) {
    Drain("client disconnected");
    return false;
  }
  if (IsPayloadHostile(header, parts_.terms.framing)) {
    Abort("payload far beyond the advertised maximum");
    return false;
  }
  const Refusal refusal = CheckRequest(header, parts_.terms);
  if (!HasRoomFor(header, refusal)) return false;
  input_.Drop(header_bytes);
  Begin(header, refusal);
  return true;
}

bool Session::HasRoomFor(const RequestHeader& header, const Refusal& refusal) {
  if (in_flight_ >= kInFlightMax) return false;
  const uint64_t room_bytes = RoomBytes(header, refusal);
  if (in_flight_ > 0 && in_flight_bytes_ + room_bytes > kInFlightBytesMax) return false;
  return Charge(FirstCharge(header, room_bytes));
}

// The charge was taken.
void Session::Begin(const RequestHeader& header, const Refusal& refusal) {
  Request* request = TakeRequest();
  request->header = header;
  request->refusal = refusal;
  request->room_bytes = RoomBytes(header, refusal);
  in_flight_bytes_ += request->room_bytes;
  TakeCharge(request, FirstCharge(header, request->room_bytes));
  request->payload_bytes = PayloadBytes(header, parts_.terms.framing);
  request->payload_taken_bytes = 0;
  TakeBuffer(request);
  if (request->payload_bytes == 0) return Execute(request);
  filling_ = request;
}

void Session::TakeBuffer(Request* request) {
  if (!request->refusal.none()) return;
  const bool filter = HasStatusFilter(request->header, parts_.terms);
  if (filter && !IsStatusFilterSize(request->payload_bytes)) {
    request->refusal = {WireError::kInvalid, "malformed filter of contexts"};
    return;
  }
  const uint64_t bytes = filter ? request->payload_bytes : NeedsBuffer(request->header) ? request->header.length : 0;
  if (bytes == 0) return;
  request->buffer = parts_.buffers.Take(bytes);
  if (request->buffer.data == nullptr) request->refusal = {WireError::kMemory, "out of memory"};
}

// False when more must arrive, or memory must come free, first.
bool Session::TakePayload() {
  Request* request = filling_;
  while (request->payload_left_bytes() > 0) {
    if (!HasRoomForPayload(request)) return false;
    const size_t taken = TakeInput(request);
    if (taken == 0) return false;
    request->payload_taken_bytes += taken;
  }
  if (request->payload_bytes >= kLargePayloadBytes) receive_bytes_max_ = kReceiveBytesBetweenLarge;
  filling_ = nullptr;
  Execute(request);
  return true;
}

size_t Session::TakeInput(Request* request) {
  if (request->refusal.none()) {
    return input_.CopyOut(request->buffer.data + request->payload_taken_bytes, request->payload_room_bytes());
  }
  const size_t skipped = std::min<uint64_t>(input_.size(), request->payload_left_bytes());
  input_.Drop(skipped);
  return skipped;
}

bool Session::HasRoomForPayload(Request* request) {
  if (!request->refusal.none() || request->payload_room_bytes() > 0) return true;
  const uint64_t step_bytes = std::min(request->payload_left_bytes(), kChargeStepBytes);
  if (!Charge(step_bytes)) return false;
  TakeCharge(request, step_bytes);
  return true;
}

void Session::Receive() {
  const bool blocked = filling_ == nullptr && input_.size() >= RequestHeaderBytes(parts_.terms.framing);
  if (receiving_ || memory_.waiting || blocked) return;
  receiving_ = true;
  receiving_payload_ = filling_ != nullptr && filling_->refusal.none() && filling_->payload_left_bytes() >= kDirectBytesMin;
  if (receiving_payload_) {
    std::byte* to = filling_->buffer.data + filling_->payload_taken_bytes;
    const uint64_t bytes_max = filling_->payload_room_bytes();
    if (!ReceiveEarly(to, bytes_max)) parts_.transport->Receive(to, bytes_max, &received_);
  } else {
    const std::span<std::byte> room = input_.Room();
    const size_t bytes_max = std::min(room.size(), receive_bytes_max_);
    receive_bytes_max_ = kReceiveBytes;
    if (!ReceiveEarly(room.data(), bytes_max)) parts_.transport->Receive(room.data(), bytes_max, &received_);
  }
}

// As if the transport had received it now. False when there is nothing left of it.
bool Session::ReceiveEarly(std::byte* to, size_t bytes_max) {
  if (early_.empty()) return false;
  const size_t bytes = std::min(bytes_max, early_.size() - early_taken_);
  early_.copy(reinterpret_cast<char*>(to), bytes, early_taken_);
  early_taken_ += bytes;
  if (early_taken_ == early_.size()) {
    std::string().swap(early_);
    early_taken_ = 0;
  }
  parts_.loop.Post([this, bytes] { received_.Run(static_cast<int64_t>(bytes)); });
  return true;
}

void Session::OnReceived(int64_t result) {
  receiving_ = false;
  const bool payload = std::exchange(receiving_payload_, false);
  if (phase_ > Phase::kParking) {
    DropFilling();
    return EndIfIdle();
  }
  NoteProgress();
  if (result == -ECANCELED && phase_ == Phase::kParking) return EndIfIdle();
  if (result < 0) return Abort("connection lost");
  if (result == 0) return OnEndOfStream();
  if (payload) {
    filling_->payload_taken_bytes += static_cast<uint64_t>(result);
  } else {
    input_.Commit(static_cast<size_t>(result));
  }
  if (phase_ == Phase::kParking) return EndIfIdle();
  Consume();
}

// The client may have closed only its half: what came whole is answered.
void Session::OnEndOfStream() {
  const bool torn = filling_ != nullptr || input_.size() > 0;
  Drain(torn ? "client closed the connection in the middle of a request" : "client closed the connection");
}

// True when the bytes were taken from the budget. Else Consume() comes again, when they were.
bool Session::Charge(uint64_t bytes) {
  if (bytes == 0 || memory_.granted) return true;
  // Also when there is enough by now: then the grant is on its way, which must not be had besides.
  if (memory_.waiting) return false;
  if (parts_.budget.TryTake(bytes)) return true;
  memory_.waiting = true;
  memory_.bytes = bytes;
  parts_.loop.SetTimer(&stall_timer_, kStallMax);
  parts_.budget.Wait(&memory_);
  return false;
}

// Writes down to `request` what a Charge() of the same bytes has taken.
void Session::TakeCharge(Request* request, uint64_t bytes) {
  if (memory_.granted && memory_.overdraft) {
    request->overdraft = true;
  } else {
    request->charged_bytes += bytes;
  }
  memory_.granted = false;
}

void Session::OnMemoryGranted() {
  memory_.waiting = false;
  memory_.granted = true;
  NoteProgress();
  if (phase_ == Phase::kOpen) return Consume();
  ReturnGrant();
  EndIfIdle();
}

void Session::ReturnGrant() {
  if (!std::exchange(memory_.granted, false)) return;
  if (memory_.overdraft) {
    parts_.budget.GiveOverdraft();
  } else {
    parts_.budget.Give(memory_.bytes);
  }
}

void Session::DropFilling() {
  if (filling_ != nullptr) Recycle(std::exchange(filling_, nullptr));
}

}  // namespace varve::nbd
