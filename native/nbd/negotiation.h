// Negotiation: a connection from accept to the end of its handshake.
//
// Receives, lets Handshake answer, sends, in strict turns; so at the end nothing is pending and
// the transport can go on on another loop.
// Invariant: ends within the handshake's time limit whatever the client does.
// Thread: its loop's.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "io/event_loop.h"
#include "nbd/handshake.h"
#include "nbd/input_buffer.h"
#include "nbd/transport.h"

namespace varve::nbd {

class Negotiation;

class NegotiationHost {
 public:
  // Nothing is pending; agreed() says how it ended. Destroy it later, not from inside this call. Called once.
  virtual void NegotiationEnded(Negotiation* negotiation) = 0;

 protected:
  ~NegotiationHost() = default;
};

class Negotiation {
 public:
  Negotiation(EventLoop& loop, NegotiationHost& host, std::unique_ptr<Catalog> catalog,
              std::unique_ptr<Transport> transport);

  void Start(std::chrono::milliseconds timeout);
  // Ends the connection. Nothing happens when it ended already.
  void Abort();

  // True when the client is to be served and has got the final reply.
  bool agreed() const { return ended_ && !aborted_ && handshake_.state() == Handshake::State::kTransmission; }
  const Agreement& agreement() const { return handshake_.agreement(); }
  Catalog& catalog() { return *catalog_; }
  std::unique_ptr<Transport> TakeTransport() { return std::move(transport_); }
  // What the client sent behind its last option.
  std::span<const std::byte> early() const { return input_.content(); }

 private:
  struct Moved : CountedCompletion {
    Moved(Fn fn, Negotiation* negotiation_in) : CountedCompletion(fn), negotiation(negotiation_in) {}
    Negotiation* negotiation;
  };
  struct Deadline : Timer {
    Deadline(Fn fn, Negotiation* negotiation_in) : Timer(fn), negotiation(negotiation_in) {}
    Negotiation* negotiation;
  };

  void GoOn();
  void Receive();
  void OnReceived(int64_t result);
  void Send();
  void OnSent(int64_t result);
  void End();

  EventLoop& loop_;
  NegotiationHost& host_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Transport> transport_;
  Handshake handshake_;
  InputBuffer input_{Handshake::kInputBytesMax};
  std::string output_ = Handshake::Greeting();
  size_t output_sent_ = 0;
  iovec part_{};
  msghdr message_{};
  bool pending_ = false;
  bool aborted_ = false;
  bool ended_ = false;
  Moved received_;
  Moved sent_;
  Deadline deadline_;
};

}  // namespace varve::nbd
