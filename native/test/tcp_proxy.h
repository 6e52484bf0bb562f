// TcpProxy: a portal of its own in front of a loopback port; the link behind it can be cut and restored.
//
// Threads of its own; nothing of it is left when it goes.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "io/unique_fd.h"

namespace varve {

class TcpProxy {
 public:
  explicit TcpProxy(unsigned target_port);
  ~TcpProxy();

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // Ends all connections; new ones are refused.
  void Cut();
  void Restore();
  // Ends all connections; new ones lead there.
  void Lead(unsigned target_port);

 private:
  struct Pair {
    UniqueFd near, far;
    std::thread out, back;
  };

  void Listen();
  void Serve(int listener);
  void EndPairs();
  static void Copy(int from, int to);

  std::atomic<unsigned> target_port_;
  unsigned port_ = 0;
  UniqueFd listener_;
  std::thread acceptor_;
  std::mutex mutex_;
  std::vector<Pair> pairs_;  // by mutex_
};

}  // namespace varve
