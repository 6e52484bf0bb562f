// ClientLink: one connection of ours to an NBD server on a unix socket.
//
//   connected ─▶ (handshake, then requests and replies, all by the parser's sink) ─▶ down       final: a new connection is a new object
//
// Guarantees:
//   - What is sent goes out in order; what comes in goes to the sink from the loop, never inside a call.
//   - on_down runs once, from the loop, unless Close() came first; behind either, neither it nor the sink is called.
// Thread: the loop's. Its memory goes when the loop has let go of it.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "io/event_loop.h"
#include "nbd/reply_parser.h"
#include "nbd/socket_transport.h"

namespace varve::nbd {

class ClientLink : public std::enable_shared_from_this<ClientLink> {
 public:
  using Down = std::function<void(Status)>;

  // sink: lives until Close(), or on_down.
  static std::shared_ptr<ClientLink> Connect(EventLoop& loop, const std::string& path, ReplySink* sink, Down on_down);
  void Send(std::string bytes);
  // May be called again.
  void Close();
  // Whether anything has come since this was asked last.
  bool TakeProgress() { return std::exchange(progressed_, false); }

 private:
  // An operation of the loop; it keeps the link while it is pending.
  struct Io : CountedCompletion {
    using Then = void (ClientLink::*)(int64_t result);
    explicit Io(Then after) : CountedCompletion(OnDone), then(after) {}
    static void OnDone(CountedCompletion* self, int64_t result);
    Then then;
    std::shared_ptr<ClientLink> link;  // set while pending
  };

  ClientLink(EventLoop& loop, ReplySink* sink, Down on_down);
  void Open(const std::string& path);
  void Receive();
  void OnReceived(int64_t result);
  void SendNext();
  void OnSent(int64_t result);
  void Fail(Status status);

  static constexpr size_t kReceiveBytes = 256 << 10;

  EventLoop& loop_;
  ReplyParser parser_;
  Down on_down_;
  std::unique_ptr<SocketTransport> transport_;  // null: it could not be connected
  bool closed_ = false;
  bool progressed_ = false;
  std::unique_ptr<std::array<std::byte, kReceiveBytes>> input_;
  std::string waiting_, sending_;  // to go out next; going out, from sent_ on
  size_t sent_ = 0;
  iovec piece_{};
  msghdr message_{};
  Io receive_{&ClientLink::OnReceived}, send_{&ClientLink::OnSent};
};

}  // namespace varve::nbd
