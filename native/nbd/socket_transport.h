// SocketTransport: a plain stream socket.
#pragma once

#include <utility>

#include "io/event_loop.h"
#include "io/unique_fd.h"
#include "nbd/transport.h"

namespace varve::nbd {

class SocketTransport final : public Transport {
 public:
  SocketTransport(EventLoop& loop, UniqueFd fd) : loop_(&loop), fd_(std::move(fd)) {}

  void Receive(void* buffer, size_t bytes, CountedCompletion* done) override;
  void Send(const msghdr* message, CountedCompletion* done) override;
  void Cancel() override;
  void MoveTo(EventLoop& loop) override { loop_ = &loop; }
  bool PeerEnded() const override;
  UniqueFd TakeDescriptor() override { return std::move(fd_); }

 private:
  EventLoop* loop_;
  UniqueFd fd_;
};

}  // namespace varve::nbd
