#include "io/nfs_link.h"

#include <algorithm>
#include <utility>

namespace varve {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDialLimit{10'000};
constexpr milliseconds kPause{1'000};
// libnfs takes no larger answers.
constexpr uint32_t kTransferBytesMax = 1 << 20;

}  // namespace

NfsLink::NfsLink(const NfsLibrary& library, EventLoop& loop, NfsAddress address)
    : library_(library), loop_(loop), address_(std::move(address)), protocol_(NfsProtocolOf(library, address_.version)) {}

NfsLink::~NfsLink() { Close(); }

std::string NfsLink::identity() const {
  return "nfs:" + peer_ + ":" + std::to_string(attributes_.filesystem) + ":" + std::to_string(attributes_.file);
}

void NfsLink::Want() {
  if (state_ != State::kDown || closing_) return;
  state_ = State::kDialing;
  if (!std::exchange(pause_before_dial_, false)) return Dial();
  loop_.SetTimer(&timer_, kPause);
}

void NfsLink::Dial() {
  loop_.SetTimer(&timer_, kDialLimit);
  dial_ = std::make_unique<NfsDial>(library_, loop_, address_, NfsDial::Goal::kFolder, [this](Status status, NfsReached reached) {
    OnDialed(status, std::move(reached));
  });
}

void NfsLink::OnTimer() {
  bool paused = !dial_ && !rpc_;
  if (paused) Dial();
  else Drop(Status(ETIMEDOUT, "reach the NFS server"));
}

void NfsLink::OnDialed(Status status, NfsReached reached) {
  std::unique_ptr<NfsDial> ended = std::move(dial_);
  if (!status.ok()) return Drop(status);
  rpc_ = std::move(reached.rpc);
  ++connections_;
  peer_ = std::move(reached.peer);
  rpc_->on_broken = [this](Status broken) { Drop(broken); };
  bool queued = protocol_.Lookup(*rpc_, reached.folder, address_.name(), &find_);
  if (!queued) FailLater(Status(ENOMEM, "find the file on the NFS server"));
}

void NfsLink::OnFound(const NfsReply& reply) {
  if (reply.error == ECONNRESET) return;  // the connection's end says so
  int error = reply.error != 0 ? reply.error : Recognize(reply.attributes);
  if (error != 0) return FailLater(Status(error, "find the file on the NFS server"));
  file_ = reply.handle;
  if (!protocol_.Limits(*rpc_, file_, &ask_limits_)) FailLater(Status(ENOMEM, "ask for the NFS server's limits"));
}

// errno; another file under the name is as stale as a handle of a file that is gone.
int NfsLink::Recognize(const NfsAttributes& found) {
  if (found.kind == NfsAttributes::Kind::kFolder) return EISDIR;
  if (found.kind != NfsAttributes::Kind::kFile) return ENOTSUP;
  if (!std::exchange(known_, true)) attributes_ = found;
  bool same = found.filesystem == attributes_.filesystem && found.file == attributes_.file;
  return same && found.size_bytes >= attributes_.size_bytes ? 0 : ESTALE;
}

void NfsLink::OnLimits(const NfsReply& reply) {
  if (reply.error == ECONNRESET) return;
  if (reply.error != 0) return FailLater(Status(reply.error, "ask for the NFS server's limits"));
  auto limit = [](uint32_t told) { return told == 0 ? kTransferBytesMax : std::min(told, kTransferBytesMax); };
  limits_ = {limit(reply.limits.read_bytes), limit(reply.limits.write_bytes)};
  loop_.CancelTimer(&timer_);
  state_ = State::kUp;
  on_up();
}

// Inside of libnfs nothing of it may be destroyed. By then there may be another connection.
void NfsLink::FailLater(Status status) {
  loop_.Post([this, status, failed = connections_, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired() && failed == connections_) Drop(status);
  });
}

void NfsLink::Lost() {
  if (state_ != State::kUp) return;
  state_ = State::kLost;
  FailLater(Status(ECONNRESET, "NFS connection"));
}

void NfsLink::Drop(Status status) {
  if (state_ == State::kDown || state_ == State::kEnding) return;
  loop_.CancelTimer(&timer_);
  // Whoever is told by the end of the connection may want another one at once: not before everybody was told.
  state_ = State::kEnding;
  dial_.reset();
  rpc_.reset();
  state_ = State::kDown;
  on_down(status);
}

void NfsLink::Close() {
  closing_ = true;
  Drop(Status(ECONNRESET, "NFS connection"));
}

}  // namespace varve
