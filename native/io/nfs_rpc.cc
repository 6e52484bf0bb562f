#include "io/nfs_rpc.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstdlib>
#include <utility>

namespace varve {

namespace {

// A socket's error as one of those that callers know to pass (nfs_disk.h).
int PassingError(int error, int otherwise) {
  switch (error) {
    case ETIMEDOUT:
    case EHOSTUNREACH: return error;
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTDOWN: return EHOSTUNREACH;
    default: return otherwise;
  }
}

}  // namespace

struct NfsRpc::Waits {
  explicit Waits(NfsRpc* owner) : rpc(owner) {}

  struct Poll : CountedCompletion {
    Poll(Waits* owner, short mask) : CountedCompletion(OnReady), waits(owner), events(mask) {}
    static void OnReady(CountedCompletion* self, int64_t result) {
      auto* poll = static_cast<Poll*>(self);
      poll->armed = false;
      Waits* all = poll->waits;
      all->Serve(result < 0 ? POLLERR : static_cast<int>(result));
    }
    Waits* waits;
    short events;
    bool armed = false;
  };
  // The end of the turn: sends what was queued, or says that the connection broke.
  struct TurnEnd : Completion {
    explicit TurnEnd(Waits* owner) : Completion(OnEnd), waits(owner) {}
    static void OnEnd(Completion* self, Status) {
      auto* end = static_cast<TurnEnd*>(self);
      end->armed = false;
      Waits* all = end->waits;
      all->Serve(0);
    }
    Waits* waits;
    bool armed = false;
  };

  // The connection may go meanwhile.
  void Serve(int events) {
    serving = true;
    if (rpc) rpc->Serve(events);
    serving = false;
    MayGo();
  }
  void MayGo() {
    if (!rpc && !serving && !in.armed && !out.armed && !turn_end.armed) delete this;
  }

  NfsRpc* rpc;  // null once it is gone
  bool serving = false;
  Poll in{this, POLLIN}, out{this, POLLOUT};
  TurnEnd turn_end{this};
};

NfsRpc::NfsRpc(const NfsLibrary& library, EventLoop& loop)
    : library_(library), loop_(loop), context_(library.rpc_init_context()), waits_(new Waits(this)) {
  if (!context_) abort();  // out of memory
}

NfsRpc::~NfsRpc() {
  waits_->rpc = nullptr;
  if (fd_ >= 0) loop_.CancelSocket(fd_);
  // Libnfs lets go of what belongs to a connect only by reporting its end.
  connect_done_ = nullptr;
  if (connect_pending_) library_.rpc_service(context_, -1);
  library_.rpc_destroy_context(context_);
  waits_->MayGo();
}

// ---- connecting

void NfsRpc::Connect(const std::string& address, int port, int program, int version,
                     std::function<void(Status)> done) {
  connect_done_ = std::move(done);
  int started =
      library_.rpc_connect_port_async(context_, address.c_str(), port, program, version, OnConnected, this);
  connect_pending_ = started == 0;
  fd_ = library_.rpc_get_fd(context_);
  // What the kernel refuses at once is reported as everything else: from the loop.
  if (started != 0) error_ = errno != 0 ? errno : EHOSTUNREACH;
  Queued();
}

// Called by libnfs, also while the context is destroyed.
void NfsRpc::OnConnected(rpc_context*, int status, void*, void* self) {
  auto* rpc = static_cast<NfsRpc*>(self);
  rpc->connect_pending_ = false;
  if (status == RPC_STATUS_CANCEL || !rpc->connect_done_) return;
  if (status != RPC_STATUS_SUCCESS) return rpc->Break(0);
  rpc->TuneSocket();
  std::exchange(rpc->connect_done_, nullptr)(Status::Ok());
}

void NfsRpc::TuneSocket() {
  auto set = [this](int level, int name, int value) { setsockopt(fd_, level, name, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 2);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 15'000);
}

// ---- serving

void NfsRpc::Queued() {
  if (std::exchange(waits_->turn_end.armed, true)) return;
  loop_.Defer(&waits_->turn_end);
}

// Libnfs may run callbacks in here that queue more, none that destroy this object.
void NfsRpc::Serve(int events) {
  if (events & (POLLERR | POLLHUP)) Break(SocketError());
  if (error_ == 0 && events == 0) events = EventsAtTurnEnd();
  if (error_ == 0 && events != 0 && library_.rpc_service(context_, events) != 0) Break(SocketError());
  if (error_ == 0) return Wait();
  if (connect_done_) std::exchange(connect_done_, nullptr)(Status(error_, "connect to the NFS server"));
  else if (on_broken) std::exchange(on_broken, nullptr)(Status(error_, "NFS connection"));
}

// What was queued is tried at once; a socket that is still connecting has to wait for the kernel's word.
int NfsRpc::EventsAtTurnEnd() const {
  constexpr int kConnectedAndQueued = POLLIN | POLLOUT;
  return library_.rpc_which_events(context_) == kConnectedAndQueued ? POLLOUT : 0;
}

void NfsRpc::Wait() {
  int wanted = library_.rpc_which_events(context_);
  for (Waits::Poll* poll : {&waits_->in, &waits_->out}) {
    if (!(wanted & poll->events) || poll->armed) continue;
    poll->armed = true;
    loop_.Poll(fd_, poll->events, poll);
  }
}

// Reading it clears it: asked for before libnfs does.
int NfsRpc::SocketError() const {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

// The owner is told at the end of the turn, outside of libnfs.
void NfsRpc::Break(int error) {
  if (error_ != 0) return;
  error_ = PassingError(error, connect_done_ ? ECONNREFUSED : ECONNRESET);
  Queued();
}

}  // namespace varve
