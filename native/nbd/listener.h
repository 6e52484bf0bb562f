// Listener: accepts connections on one socket and hands them on.
//
// Invariant: while it is open it accepts, or waits for a moment after the process ran out of descriptors.
// Thread: its loop's.
#pragma once

#include <functional>

#include "io/event_loop.h"
#include "nbd/listen_socket.h"

namespace varve::nbd {

class Listener {
 public:
  // accepted: gets each new descriptor, on the loop's thread.
  Listener(EventLoop& loop, ListenSocket socket, std::function<void(UniqueFd)> accepted);

  void Start() { Accept(); }
  // closed: once nothing is pending and the path is gone. Call once.
  void Close(std::function<void()> closed);
  // parked: once nothing is pending, with the socket, which goes on listening. Instead of Close().
  void Park(std::function<void(ListenSocket)> parked);
  EventLoop& loop() { return loop_; }

 private:
  struct Accepted : CountedCompletion {
    Accepted(Fn fn, Listener* listener_in) : CountedCompletion(fn), listener(listener_in) {}
    Listener* listener;
  };
  struct Pause : Timer {
    Pause(Fn fn, Listener* listener_in) : Timer(fn), listener(listener_in) {}
    Listener* listener;
  };

  void Accept();
  void OnAccepted(int64_t result);
  void Stop();

  EventLoop& loop_;
  ListenSocket socket_;
  std::function<void(UniqueFd)> on_accepted_;
  std::function<void()> finish_;  // set by Close() and Park()
  bool accepting_ = false;
  Accepted accepted_;
  Pause pause_;
};

}  // namespace varve::nbd
