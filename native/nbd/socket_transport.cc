#include "nbd/socket_transport.h"

#include <poll.h>

namespace varve::nbd {

void SocketTransport::Receive(void* buffer, size_t bytes, CountedCompletion* done) {
  loop_->Receive(fd_.get(), buffer, bytes, done);
}

void SocketTransport::Send(const msghdr* message, CountedCompletion* done) { loop_->Send(fd_.get(), message, done); }

void SocketTransport::Cancel() { loop_->CancelSocket(fd_.get()); }

bool SocketTransport::PeerEnded() const {
  pollfd query{fd_.get(), POLLRDHUP, 0};
  return poll(&query, 1, 0) > 0;  // POLLHUP and POLLERR are always asked for
}

}  // namespace varve::nbd
