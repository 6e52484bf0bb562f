#include "test/tcp_proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <utility>

namespace varve {

namespace {

sockaddr_in Loopback(unsigned port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

TcpProxy::TcpProxy(unsigned target_port) : target_port_(target_port) { Listen(); }

TcpProxy::~TcpProxy() { Cut(); }

void TcpProxy::Listen() {
  listener_ = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address = Loopback(port_);
  ASSERT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t bytes = sizeof address;
  getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &bytes);
  port_ = ntohs(address.sin_port);
  ASSERT_EQ(listen(listener_.get(), 16), 0);
  acceptor_ = std::thread([this, fd = listener_.get()] { Serve(fd); });
}

void TcpProxy::Serve(int listener) {
  for (;;) {
    Pair pair;
    pair.near = UniqueFd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!pair.near.valid()) return;
    pair.far = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = Loopback(target_port_);
    if (connect(pair.far.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) continue;
    pair.out = std::thread(Copy, pair.near.get(), pair.far.get());
    pair.back = std::thread(Copy, pair.far.get(), pair.near.get());
    std::lock_guard lock(mutex_);
    pairs_.push_back(std::move(pair));
  }
}

void TcpProxy::Copy(int from, int to) {
  char buffer[65536];
  for (;;) {
    ssize_t count = recv(from, buffer, sizeof buffer, 0);
    if (count <= 0) break;
    for (ssize_t sent = 0; sent < count;) {
      ssize_t part = send(to, buffer + sent, static_cast<size_t>(count - sent), MSG_NOSIGNAL);
      if (part <= 0) break;
      sent += part;
    }
  }
  shutdown(to, SHUT_RDWR);
  shutdown(from, SHUT_RDWR);
}

void TcpProxy::Cut() {
  if (!listener_.valid()) return;
  shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  listener_ = UniqueFd();
  EndPairs();
}

void TcpProxy::EndPairs() {
  std::lock_guard lock(mutex_);
  for (Pair& pair : pairs_) {
    shutdown(pair.near.get(), SHUT_RDWR);
    shutdown(pair.far.get(), SHUT_RDWR);
    pair.out.join();
    pair.back.join();
  }
  pairs_.clear();
}

void TcpProxy::Restore() { Listen(); }

void TcpProxy::Lead(unsigned target_port) {
  target_port_ = target_port;
  EndPairs();
}

}  // namespace varve
