#include "io/iscsi_session.h"

#include <poll.h>
#include <sys/socket.h>

#include <utility>

#include "io/iscsi_login_error.h"

namespace varve {

namespace {

// So often within the limit the target's signs of life are looked at.
constexpr int kLooksPerLimit = 4;
// One command may take so many limits while the target answers others: a cache is written out in one command.
constexpr int kCommandLimits = 6;

libiscsi::Iovec* AsIovec(iovec* iov) { return reinterpret_cast<libiscsi::Iovec*>(iov); }
static_assert(sizeof(libiscsi::Iovec) == sizeof(iovec));

}  // namespace

std::shared_ptr<IscsiSession> IscsiSession::Create(EventLoop& loop, const libiscsi::Functions& library, Options options) {
  return std::shared_ptr<IscsiSession>(new IscsiSession(loop, library, std::move(options)));
}

IscsiSession::IscsiSession(EventLoop& loop, const libiscsi::Functions& library, Options options)
    : loop_(loop),
      library_(library),
      options_(std::move(options)),
      context_(library.create_context(options_.target->initiator.c_str())),
      last_sign_(Clock::now()) {}

IscsiSession::~IscsiSession() { LetGo(); }

// ---- beginning

void IscsiSession::Start(std::function<void()> on_login, Ended on_ended) {
  on_login_ = std::move(on_login);
  on_ended_ = std::move(on_ended);
  Configure();
  loop_.SetTimer(&watch_, options_.target->answer_limit / kLooksPerLimit);
  Began(library_.connect_async(context_, options_.portal.c_str(), OnConnected, this));
}

void IscsiSession::Configure() {
  const IscsiTarget& target = *options_.target;
  library_.set_noautoreconnect(context_, 1);
  library_.set_isid_random(context_, options_.isid, options_.isid_qualifier);
  library_.set_session_type(context_, options_.discovery ? libiscsi::kDiscovery : libiscsi::kNormal);
  library_.set_alias(context_, "varve");
  if (!options_.discovery) library_.set_targetname(context_, target.name.c_str());
  if (!target.user.empty()) {
    library_.set_initiator_username_pwd(context_, target.user.c_str(), target.secret.c_str());
  }
  if (!target.target_user.empty()) {
    library_.set_target_username_pwd(context_, target.target_user.c_str(), target.target_secret.c_str());
  }
}

// A connection that fails at once is reported from the loop like any other.
void IscsiSession::Began(int result) {
  if (result == 0) return Arm();
  Status status = LoginError(library_.get_error(context_));
  loop_.Post([self = shared_from_this(), status] { self->End(status); });
}

void IscsiSession::OnConnected(libiscsi::Context*, int status, void*, void* owner) {
  auto* session = static_cast<IscsiSession*>(owner);
  if (status != libiscsi::kGood) return session->End(LoginError(session->library_.get_error(session->context_)));
  session->AnswerCame();
  int result = session->library_.login_async(session->context_, OnLoggedIn, session);
  if (result != 0) session->End(Status(ENOTCONN, "begin the iSCSI login"));
}

void IscsiSession::OnLoggedIn(libiscsi::Context*, int status, void*, void* owner) {
  auto* session = static_cast<IscsiSession*>(owner);
  if (session->state_ != State::kConnecting) return;
  if (status == libiscsi::kRedirect) {
    session->redirected_to_ = session->library_.get_target_address(session->context_);
    return session->End(Status(EREMCHG, "the iSCSI target is at another portal"));
  }
  if (status != libiscsi::kGood) return session->End(LoginError(session->library_.get_error(session->context_)));
  session->state_ = State::kLoggedIn;
  session->AnswerCame();
  std::exchange(session->on_login_, nullptr)();
}

// ---- commands

void IscsiSession::Submit(ScsiCommand* command) {
  if (state_ == State::kEnded) return Refuse(command);
  auto* flight = new InFlight{this, command, nullptr, Clock::now(), {}};
  flight->place = in_flight_.insert(in_flight_.end(), flight);
  flight->task = library_.create_task(command->cdb.length, command->cdb.bytes.data(), command->transfer,
                                      static_cast<int>(command->bytes));
  if (command->transfer == libiscsi::kFromTarget) {
    library_.set_iov_in(flight->task, AsIovec(command->iov), command->iov_count);
  } else if (command->transfer == libiscsi::kToTarget) {
    library_.set_iov_out(flight->task, AsIovec(command->iov), command->iov_count);
  }
  int lun = static_cast<int>(options_.target->lun);
  if (library_.scsi_command_async(context_, lun, flight->task, OnCommand, nullptr, flight) == 0) return PumpLater();
  library_.free_task(std::exchange(flight->task, nullptr));
  loop_.Post([self = shared_from_this()] { self->End(Status(ENOTCONN, "send an iSCSI command")); });
}

void IscsiSession::Refuse(ScsiCommand* command) {
  loop_.Post([command] {
    ScsiResult lost;
    lost.session = Status(ECONNRESET, "the iSCSI session was lost");
    command->done(command, lost);
  });
}

void IscsiSession::OnCommand(libiscsi::Context*, int status, void*, void* owner) {
  auto* flight = static_cast<InFlight*>(owner);
  IscsiSession* session = flight->session;
  ScsiCommand* command = flight->command;
  ScsiResult result;
  result.status = status;
  result.sense_key = flight->task->sense.key;
  result.ascq = flight->task->sense.ascq;
  result.whole = flight->task->residual_status == 0;
  session->library_.free_task(std::exchange(flight->task, nullptr));
  // Statuses above a byte are libiscsi's own: the session is over, in whatever way, before anybody is told of a command's end.
  if (command && status > 0xff) return session->End(Status(ECONNRESET, "the iSCSI session was lost"));
  if (command) session->in_flight_.erase(flight->place);
  delete flight;
  if (!command) return;
  session->AnswerCame();
  command->done(command, result);
}

void IscsiSession::ResetLun(std::function<void(Status)> done) {
  if (state_ == State::kEnded) {
    return loop_.Post([done = std::move(done)] { done(Status(ECONNRESET, "the iSCSI session was lost")); });
  }
  on_reset_ = std::move(done);
  // Not libiscsi's own function for this: it ends the commands in flight first, the one just being answered a second time.
  int lun = static_cast<int>(options_.target->lun);
  int result = library_.task_mgmt_async(context_, lun, libiscsi::kLunReset, libiscsi::kNoTask, 0, OnReset, this);
  if (result == 0) return PumpLater();
  loop_.Post([self = shared_from_this()] { self->End(Status(ENOTCONN, "reset the LUN")); });
}

// A target that cannot reset a LUN says so; then there is nothing more to be done about commands of lost sessions.
void IscsiSession::OnReset(libiscsi::Context*, int status, void*, void* owner) {
  auto* session = static_cast<IscsiSession*>(owner);
  if (session->state_ == State::kEnded) return;
  session->AnswerCame();
  if (status == libiscsi::kCancelled) return session->End(Status(ECONNRESET, "the iSCSI session was lost"));
  if (session->on_reset_) std::exchange(session->on_reset_, nullptr)(Status::Ok());
}

void IscsiSession::Discover(std::function<void(Status, const libiscsi::Target*)> done) {
  on_discovered_ = std::move(done);
  if (library_.discovery_async(context_, OnDiscovered, this) == 0) return PumpLater();
  loop_.Post([self = shared_from_this()] { self->End(Status(ENOTCONN, "ask for the portal's targets")); });
}

void IscsiSession::OnDiscovered(libiscsi::Context*, int status, void* targets, void* owner) {
  auto* session = static_cast<IscsiSession*>(owner);
  if (session->state_ == State::kEnded) return;
  if (status != libiscsi::kGood) return session->End(Status(EPROTO, "the portal does not tell its targets"));
  auto done = std::exchange(session->on_discovered_, nullptr);
  if (done) done(Status::Ok(), static_cast<const libiscsi::Target*>(targets));
}

// ---- the socket

void IscsiSession::Arm() {
  if (state_ == State::kEnded) return;
  short events = static_cast<short>(library_.which_events(context_));
  if (events & POLLIN) Await(&readable_, POLLIN);
  if (events & POLLOUT) Await(&writable_, POLLOUT);
}

void IscsiSession::Await(Waiting* waiting, short events) {
  if (waiting->session) return;
  waiting->session = shared_from_this();
  loop_.Poll(library_.get_fd(context_), events, waiting);
}

void IscsiSession::OnReadable(CountedCompletion* self, int64_t result) {
  auto* waiting = static_cast<Waiting*>(self);
  waiting->session->PollEnded(waiting, result);
}

void IscsiSession::OnWritable(CountedCompletion* self, int64_t result) { OnReadable(self, result); }

void IscsiSession::PollEnded(Waiting* waiting, int64_t events) {
  std::shared_ptr<IscsiSession> self = std::exchange(waiting->session, nullptr);
  if (state_ == State::kEnded) return LetGo();
  if (events < 0) return End(Status(ECONNRESET, "wait for the iSCSI target"));
  if (state_ == State::kLoggedIn && PeerIsGone()) return End(Status(ECONNRESET, "the iSCSI target closed the connection"));
  if (events & POLLIN) last_sign_ = Clock::now();
  Service(static_cast<int>(events));
}

// Told not to reconnect, libiscsi reports the end of the stream by nothing but the end of its commands.
bool IscsiSession::PeerIsGone() {
  char byte;
  ssize_t count = recv(library_.get_fd(context_), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR);
}

void IscsiSession::Service(int events) {
  in_service_ = true;
  int result = library_.service(context_, events);
  in_service_ = false;
  if (state_ == State::kEnded) return LetGo();
  if (result < 0) return End(LoginError(library_.get_error(context_)));
  Arm();
}

// What was submitted in this turn is sent together at its end, without waiting for the socket to be said writable.
void IscsiSession::PumpLater() {
  if (pump_.session) return;
  pump_.session = shared_from_this();
  loop_.Defer(&pump_);
}

void IscsiSession::Pump::OnTurnEnd(Completion* self, Status) {
  auto session = std::exchange(static_cast<Pump*>(self)->session, nullptr);
  if (session->state_ == State::kEnded) return;
  bool wants = session->library_.which_events(session->context_) & POLLOUT;
  if (wants) session->Service(POLLOUT);
  else session->Arm();
}

// ---- signs of life

void IscsiSession::AnswerCame() { last_sign_ = Clock::now(); }

void IscsiSession::Watch::OnTime(Timer* self) {
  // The owner may let go of the session in what follows.
  auto session = static_cast<Watch*>(self)->session->shared_from_this();
  session->LookForLife();
}

void IscsiSession::LookForLife() {
  auto limit = options_.target->answer_limit;
  auto now = Clock::now();
  if (now - last_sign_ > limit) return End(Status(ETIMEDOUT, "the iSCSI target does not answer"));
  if (!in_flight_.empty() && now - in_flight_.front()->since > kCommandLimits * limit) {
    return End(Status(ETIMEDOUT, "the iSCSI target does not end a command"));
  }
  loop_.SetTimer(&watch_, limit / kLooksPerLimit);
  bool quiet = now - last_sign_ >= limit / 2;
  if (!quiet || pinged_ || state_ != State::kLoggedIn || options_.discovery) return;
  pinged_ = library_.nop_out_async(context_, OnPong, nullptr, 0, this) == 0;
  PumpLater();
}

void IscsiSession::OnPong(libiscsi::Context*, int status, void*, void* owner) {
  auto* session = static_cast<IscsiSession*>(owner);
  if (session->state_ == State::kEnded) return;
  session->pinged_ = false;
  if (status == libiscsi::kGood) return session->AnswerCame();
  session->End(Status(ECONNRESET, "the iSCSI session was lost"));
}

// ---- ending

void IscsiSession::Close(Status status) {
  on_ended_ = nullptr;
  End(status);
}

void IscsiSession::End(Status status) {
  if (state_ == State::kEnded) return;
  std::shared_ptr<IscsiSession> self = shared_from_this();
  state_ = State::kEnded;
  loop_.CancelTimer(&watch_);
  loop_.CancelSocket(library_.get_fd(context_));
  on_login_ = nullptr;
  EndCommands(status);
  if (on_ended_) std::exchange(on_ended_, nullptr)(status);
  LetGo();
}

void IscsiSession::EndCommands(Status status) {
  ScsiResult lost;
  lost.session = status;
  while (!in_flight_.empty()) {
    InFlight* flight = in_flight_.front();
    in_flight_.pop_front();
    ScsiCommand* command = std::exchange(flight->command, nullptr);
    // One that libiscsi never took is nobody's any more.
    if (!flight->task) delete flight;
    command->done(command, lost);
  }
  if (on_reset_) std::exchange(on_reset_, nullptr)(status);
  if (on_discovered_) std::exchange(on_discovered_, nullptr)(status, nullptr);
}

// The library must be out of the way, and the kernel must no longer watch the descriptor that goes with the context.
void IscsiSession::LetGo() {
  if (!context_ || in_service_ || readable_.session || writable_.session) return;
  library_.destroy_context(std::exchange(context_, nullptr));
}

}  // namespace varve
