// IscsiSession: one login at one portal, on one loop, through libiscsi.
//
//   connecting ─▶ logged in ─▶ ended        ended is final: whoever needs a session again makes a new one
//        └────────────────────────▲
//
// Guarantees:
//   - Each command submitted ends exactly once, from the loop, never inside the submitting call; with the session's status when
//     the session ends first. After that neither its buffers nor its descriptor block are touched.
//   - `on_ended` runs once, after all commands have ended, unless the owner closed the session itself.
//   - A target that gives no sign of life for target.answer_limit, be it while connecting, with commands in flight or idle (it is
//     asked with a NOP), ends the session with ETIMEDOUT; so does one command that stays unanswered for six times that.
// libiscsi is told never to reconnect by itself: it would send writes again behind our back, out of order.
// Thread: the loop's.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "io/event_loop.h"
#include "io/iscsi_address.h"
#include "io/iscsi_library.h"
#include "io/scsi_command.h"
#include "io/scsi_outcome.h"

namespace varve {

// A command in flight, embedded in its sender. All is lent until `done` runs.
struct ScsiCommand {
  using Fn = void (*)(ScsiCommand* self, const ScsiResult& result);
  explicit ScsiCommand(Fn fn) : done(fn) {}

  scsi::Cdb cdb;
  libiscsi::Transfer transfer = libiscsi::kNoTransfer;
  iovec* iov = nullptr;  // changed and restored by libiscsi
  int iov_count = 0;
  uint32_t bytes = 0;    // of the transfer, the sum of the pieces
  Fn done;
};

class IscsiSession : public std::enable_shared_from_this<IscsiSession> {
 public:
  struct Options {
    std::string portal;      // numeric (ResolvePortal)
    std::shared_ptr<const IscsiTarget> target;
    // Names this session among the initiator's: a login with the same numbers makes the target end the former session first,
    // so that nothing of that is executed afterwards.
    uint32_t isid = 0, isid_qualifier = 0;
    bool discovery = false;
  };
  using Ended = std::function<void(Status)>;

  static std::shared_ptr<IscsiSession> Create(EventLoop& loop, const libiscsi::Functions& library, Options options);
  ~IscsiSession();

  // Connects and logs in; then `on_login`. Errors come through `on_ended`: EACCES (CHAP), ENOENT (no such target), EREMCHG (go to
  // redirected_to()), ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT, ECONNRESET, ENOTCONN.
  void Start(std::function<void()> on_login, Ended on_ended);
  // Another owner: replaces on_ended.
  void WhenEnded(Ended on_ended) { on_ended_ = std::move(on_ended); }
  // Ends all commands with `status` and lets go; on_ended is not called.
  void Close(Status status);

  void Submit(ScsiCommand* command);
  // Makes the target abort whatever is under way on the LUN. done: ok, or the session's end.
  void ResetLun(std::function<void(Status)> done);
  // SendTargets, on a discovery session.
  void Discover(std::function<void(Status, const libiscsi::Target*)> done);

  bool logged_in() const { return state_ == State::kLoggedIn; }
  const std::string& redirected_to() const { return redirected_to_; }

 private:
  enum class State { kConnecting, kLoggedIn, kEnded };
  using Clock = std::chrono::steady_clock;

  struct InFlight {
    IscsiSession* session;
    ScsiCommand* command;
    libiscsi::Task* task;
    Clock::time_point since;
    std::list<InFlight*>::iterator place;
  };
  struct Waiting : CountedCompletion {
    explicit Waiting(Fn fn) : CountedCompletion(fn) {}
    std::shared_ptr<IscsiSession> session;  // held while armed
  };
  struct Pump : Completion {
    Pump() : Completion(OnTurnEnd) {}
    static void OnTurnEnd(Completion* self, Status);
    std::shared_ptr<IscsiSession> session;  // held while deferred
  };
  struct Watch : Timer {
    explicit Watch(IscsiSession* owner) : Timer(OnTime), session(owner) {}
    static void OnTime(Timer* self);
    IscsiSession* session;
  };

  IscsiSession(EventLoop& loop, const libiscsi::Functions& library, Options options);

  static void OnConnected(libiscsi::Context*, int status, void*, void* owner);
  static void OnLoggedIn(libiscsi::Context*, int status, void*, void* owner);
  static void OnCommand(libiscsi::Context*, int status, void*, void* owner);
  static void OnPong(libiscsi::Context*, int status, void*, void* owner);
  static void OnReset(libiscsi::Context*, int status, void*, void* owner);
  static void OnDiscovered(libiscsi::Context*, int status, void* targets, void* owner);
  static void OnReadable(CountedCompletion* self, int64_t result);
  static void OnWritable(CountedCompletion* self, int64_t result);

  void Configure();
  void Refuse(ScsiCommand* command);
  void Began(int result);
  void PollEnded(Waiting* waiting, int64_t events);
  bool PeerIsGone();
  void Service(int events);
  void PumpLater();
  void Arm();
  void Await(Waiting* waiting, short events);
  void LookForLife();
  void AnswerCame();
  void End(Status status);
  void EndCommands(Status status);
  void LetGo();

  EventLoop& loop_;
  const libiscsi::Functions& library_;
  const Options options_;
  libiscsi::Context* context_;
  State state_ = State::kConnecting;
  bool in_service_ = false;
  Waiting readable_{OnReadable}, writable_{OnWritable};
  Pump pump_;
  Watch watch_{this};
  Clock::time_point last_sign_;
  bool pinged_ = false;
  std::list<InFlight*> in_flight_;  // oldest first
  std::string redirected_to_;
  std::function<void()> on_login_;
  Ended on_ended_;
  std::function<void(Status)> on_reset_;
  std::function<void(Status, const libiscsi::Target*)> on_discovered_;
};

}  // namespace varve
