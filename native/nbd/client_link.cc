#include "nbd/client_link.h"

#include <fcntl.h>

#include <utility>

#include "nbd/unix_address.h"

namespace varve::nbd {

namespace {

// Never waits: a server whose queue is full is one that does not answer.
int ConnectUnix(const std::string& path) {
  const sockaddr_un address = UnixAddress(path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || connect(fd, Generic(address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

}  // namespace

std::shared_ptr<ClientLink> ClientLink::Connect(EventLoop& loop, const std::string& path, ReplySink* sink, Down on_down) {
  std::shared_ptr<ClientLink> link(new ClientLink(loop, sink, std::move(on_down)));
  link->Open(path);
  return link;
}

ClientLink::ClientLink(EventLoop& loop, ReplySink* sink, Down on_down)
    : loop_(loop),
      parser_(sink),
      on_down_(std::move(on_down)),
      input_(std::make_unique<std::array<std::byte, kReceiveBytes>>()) {}

void ClientLink::Open(const std::string& path) {
  UniqueFd fd(ConnectUnix(path));
  if (!fd.valid()) {
    loop_.Post([self = shared_from_this()] { self->Fail(Status(ECONNREFUSED, "connect to the NBD server")); });
    return;
  }
  // The loop's operations wait by themselves.
  fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK);
  transport_ = std::make_unique<SocketTransport>(loop_, std::move(fd));
  Receive();
}

void ClientLink::Io::OnDone(CountedCompletion* self, int64_t result) {
  auto* io = static_cast<Io*>(self);
  const std::shared_ptr<ClientLink> link = std::exchange(io->link, nullptr);
  if (!link->closed_) (*link.*(io->then))(result);
}

void ClientLink::Receive() {
  receive_.link = shared_from_this();
  transport_->Receive(input_->data(), input_->size(), &receive_);
}

void ClientLink::OnReceived(int64_t result) {
  if (result <= 0) return Fail(Status(ECONNRESET, "NBD connection"));
  progressed_ = true;
  Status status = parser_.Feed(std::span(*input_).first(static_cast<size_t>(result)));
  if (!status.ok()) return Fail(status);
  if (!closed_) Receive();
}

void ClientLink::Send(std::string bytes) {
  waiting_.append(bytes);
  if (!send_.link) SendNext();
}

void ClientLink::SendNext() {
  if (closed_ || !transport_) return;
  if (sent_ == sending_.size()) {
    sending_ = std::exchange(waiting_, {});
    sent_ = 0;
  }
  if (sending_.empty()) return;
  piece_ = {sending_.data() + sent_, sending_.size() - sent_};
  message_.msg_iov = &piece_;
  message_.msg_iovlen = 1;
  send_.link = shared_from_this();
  transport_->Send(&message_, &send_);
}

void ClientLink::OnSent(int64_t result) {
  if (result < 0) return Fail(Status(ECONNRESET, "NBD connection"));
  sent_ += static_cast<size_t>(result);
  SendNext();
}

void ClientLink::Fail(Status status) {
  if (closed_) return;
  Close();
  on_down_(status);
}

void ClientLink::Close() {
  if (!closed_ && transport_) transport_->Cancel();
  closed_ = true;
}

}  // namespace varve::nbd
