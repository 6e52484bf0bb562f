// Session: the transmission phase of one connection.
//
//   open ──DISC, end of stream, planned stop──▶ draining ──nothing in flight──▶ ended
//     │ └────── violation, broken stream ─────▶ dead ──────nothing pending────▶ ended
//     └──Park──▶ parking ──nothing in flight──▶ parked
//
// open: requests are taken from the stream as they come, many per receive and kTurnBytesMax of them per turn, and answered in the order they end.
// draining: nothing more is taken; what was taken is executed and answered.
// parking: nothing more is taken; what the target has is answered, or taken back. Then whoever goes on with the connection, in another
//   process, gets every byte that was received and not answered for: no request is lost, none is executed twice.
// dead: nothing more is taken or sent; what the target has is waited for.
//
// Invariants:
//   - A WRITE whose payload is incomplete is never applied.
//   - At most kInFlightMax requests and kInFlightBytesMax of their memory are in flight (one request is always
//     allowed); beyond that nothing is received until replies have left. The same when the budget is spent.
//   - Memory for a payload is charged step by step as it arrives: announcing costs nothing. What waits for space is charged elsewhere, so
//     that requests of others never wait for it; when there is nothing left for it either, it is refused.
//   - With a closed fence nothing that changes data is submitted; while paused, nothing at all.
//   - What the target holds for want of space is taken back when the session is paused, or ends: nobody waits for space then.
// Thread: its loop's.
// Elsewhere: layout of messages (request_header.h, reply.h), sending (reply_queue.h), who
// accepts and who counts (shard.h, server.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/event_loop.h"
#include "nbd/buffer_pool.h"
#include "nbd/client_record.h"
#include "nbd/fence.h"
#include "nbd/input_buffer.h"
#include "nbd/memory_budget.h"
#include "nbd/reply_queue.h"
#include "nbd/request.h"
#include "nbd/transport.h"
#include "volume/block_target.h"

namespace varve::nbd {

class SessionHost {
 public:
  // The session has nothing pending and may be destroyed, but not from inside this call. Called once.
  virtual void SessionEnded(Session* session) = 0;
  // The same, of one that was asked to Park(), which has: TakeParked() says with what.
  virtual void SessionParked(Session* session) = 0;
  // A session has waited long for memory: close those, on any loop, that hold some and whose client does nothing.
  virtual void MemoryWantedBack() = 0;

 protected:
  ~SessionHost() = default;
};

// What a session works on; all but `record` and `transport` are shared with others of the loop.
struct SessionParts {
  EventLoop& loop;
  BufferPool& buffers;
  MemoryBudget& budget;
  MemoryBudget& waiting_budget;  // of requests that wait for space
  SessionHost& host;
  std::unique_ptr<Transport> transport;
  std::shared_ptr<BlockTarget> target;
  std::shared_ptr<ClientRecord> record;
  Terms terms;
};

// What is left of a session for another one to go on with.
struct ParkedSession {
  std::unique_ptr<Transport> transport;
  std::string unanswered;  // requests, in the order in which they are to be taken; the last may be cut off
};

class Session final : private ReplyQueueOwner {
 public:
  // QEMU sends 16 at a time, the Linux kernel and nbdcopy up to 128.
  static constexpr unsigned kInFlightMax = 256;
  static constexpr uint64_t kInFlightBytesMax = uint64_t{64} << 20;
  static constexpr size_t kReceiveBytes = size_t{256} << 10;
  // Of requests begun in one turn of the loop: what comes next waits for the next turn, when the replies to these are on their way.
  static constexpr uint64_t kTurnBytesMax = uint64_t{256} << 10;
  // Of one BLOCK_STATUS, all contexts together; a client asks on from where they end.
  static constexpr uint64_t kStatusExtentsMax = 8192;
  static constexpr uint64_t kStatusExtentBytes = 2 * sizeof(Extent);  // the target's, and the reply's
  // How long a client may hold memory others wait for without sending or reading a byte.
  static constexpr std::chrono::milliseconds kStallMax{5'000};

  explicit Session(SessionParts parts);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // early: bytes that the client has sent and nobody has answered for. fenced: OpenFence() will be called.
  void Start(std::string early, bool fenced);
  void OpenFence();
  // Keeps `hold` until no write of this session that exists by now can still reach the target.
  void JoinFence(FenceHold hold);

  // From now on requests wait here. Keeps `hold`, which may be null, until the target has nothing of this session any more.
  void Pause(FenceHold hold);
  // Those that waited, and all that come, go to `target`.
  void Resume(std::shared_ptr<BlockTarget> target);
  bool paused() const { return paused_; }

  // For a request that the target is about to hold for want of space.
  bool recalls() const { return recall_; }
  bool Keep(Request* request);

  // Takes no more requests, answers those received, ends.
  void Drain(const char* reason);
  // Takes no more requests, lets those end that the target has; then SessionParked(), or SessionEnded() where nobody can go on: the
  // client has hung up, say, or sends what is not kept.
  void Park();
  // Once, after SessionParked().
  ParkedSession TakeParked();
  // Ends the connection without answering.
  void Abort(const char* reason);
  // Aborts when the client holds memory and has neither sent nor read for kStallMax.
  void AbortIfStalled();

  const Terms& terms() const { return parts_.terms; }
  const ClientRecord& record() const { return *parts_.record; }
  const std::shared_ptr<ClientRecord>& shared_record() const { return parts_.record; }
  const char* end_reason() const { return end_reason_; }

 private:
  enum class Phase : uint8_t { kOpen, kParking, kDraining, kDead, kEnded };
  struct Hold {
    FenceHold fence;
    uint64_t last_serial;
    unsigned writes;  // in flight, of serials up to last_serial
  };
  struct Received : CountedCompletion {
    Received(Fn fn, Session* session_in) : CountedCompletion(fn), session(session_in) {}
    Session* session;
  };
  struct Memory : MemoryWaiter {
    Memory(EventLoop* loop_in, Fn fn_in, Session* session_in) : MemoryWaiter(loop_in, fn_in), session(session_in) {}
    Session* session;
    bool waiting = false;
    bool granted = false;  // not used yet
  };
  struct StallTimer : Timer {
    StallTimer(Fn fn, Session* session_in) : Timer(fn), session(session_in) {}
    Session* session;
  };

  // Receiving: session_receive.cc
  void Consume();
  void ConsumeNextTurn();
  bool TakeHeader();
  bool HasRoomFor(const RequestHeader& header, const Refusal& refusal);
  void Begin(const RequestHeader& header, const Refusal& refusal);
  void TakeBuffer(Request* request);
  bool TakePayload();
  size_t TakeInput(Request* request);
  bool HasRoomForPayload(Request* request);
  void Receive();
  bool ReceiveEarly(std::byte* to, size_t bytes_max);
  void OnReceived(int64_t result);
  void OnEndOfStream();
  bool Charge(uint64_t bytes);
  void TakeCharge(Request* request, uint64_t bytes);
  void OnMemoryGranted();
  void ReturnGrant();
  void DropFilling();

  // Executing: session_execute.cc
  void Execute(Request* request);
  void ExecuteStatus(Request* request);
  void SubmitWrite(Request* request);
  void Submit(Request* request);
  void OnTargetDone(Request* request, Status status);
  void CountDone(const Request& request);
  void WriteEnded(uint64_t serial);
  void Answer(Request* request);
  void AnswerStatus(Request* request);
  void Refuse(Request* request, const Refusal& refusal);
  void Send(Request* request);

  // Life: session.cc
  Request* TakeRequest();
  void Recycle(Request* request);
  void ReplySent(Request* request) override;
  void SendEnded(int error) override;
  void LeaveOpen(Phase phase, const char* reason);
  void RecallHeld();
  void EndIfIdle();
  void CarryOn(Request* request);
  void StopTaking();
  unsigned Unexecuted() const;
  void AppendUnexecuted(const Request& request, uint64_t payload_bytes, std::string* out) const;
  void OnStallTimer();
  void NoteProgress();
  bool IdleTooLong() const;

  SessionParts parts_;
  Phase phase_ = Phase::kOpen;
  const char* end_reason_ = "";
  ReplyQueue replies_;

  std::string early_;
  size_t early_taken_ = 0;
  InputBuffer input_{kReceiveBytes};
  Received received_;
  bool receiving_ = false;
  bool receiving_payload_ = false;  // straight into filling_'s buffer
  size_t receive_bytes_max_ = kReceiveBytes;
  Request* filling_ = nullptr;  // its payload is on its way
  uint64_t turn_bytes_ = 0;     // of requests begun in the turn of turn_ns_
  uint64_t turn_ns_ = 0;
  bool next_turn_ = false;      // goes on with it
  Memory memory_;

  std::vector<std::unique_ptr<Request>> requests_;
  std::vector<Request*> free_requests_;
  unsigned in_flight_ = 0;  // includes filling_, held and waiting
  uint64_t in_flight_bytes_ = 0;

  bool fenced_ = false;
  std::vector<Request*> held_;
  std::vector<Hold> holds_;
  std::vector<FenceHold> holds_to_end_;
  uint64_t write_serial_ = 0;
  unsigned writes_in_flight_ = 0;

  bool paused_ = false;
  std::vector<Request*> waiting_;  // for the end of the pause
  std::vector<FenceHold> pause_holds_;
  unsigned submitted_ = 0;  // the target has them
  bool recall_ = false;     // it is not to hold any of them
  std::vector<Request*> carried_;  // while parking: the target gave them back undone

  StallTimer stall_timer_;
  std::chrono::milliseconds last_progress_{};  // of the monotonic clock
};

}  // namespace varve::nbd
