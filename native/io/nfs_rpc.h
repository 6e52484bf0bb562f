// NfsRpc: one TCP connection of libnfs to one program of a server, carried by a loop.
//
//   connecting ─▶ connected ─▶ broken       broken is final: a new connection is a new object
//
// Guarantees:
//   - Requests queued on context() in one turn are sent together at its end (Queued()).
//   - Each callback of libnfs runs once, on the loop; what is unanswered when the object goes gets RPC_STATUS_CANCEL.
//   - on_broken runs at most once, from the loop and not inside another callback; the owner may destroy the object in it.
//   - A peer that is gone without a word is noticed by the kernel (keep-alive, TCP_USER_TIMEOUT) after 15 s.
// Thread: the loop's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "io/event_loop.h"
#include "io/nfs_library.h"

namespace varve {

class NfsRpc {
 public:
  NfsRpc(const NfsLibrary& library, EventLoop& loop);
  ~NfsRpc();
  NfsRpc(const NfsRpc&) = delete;

  // address: numeric. done: on the loop, not inside the call; ok once the server has answered a null call.
  void Connect(const std::string& address, int port, int program, int version, std::function<void(Status)> done);

  rpc_context* context() { return context_; }
  // Requests were queued on context().
  void Queued();
  std::function<void(Status)> on_broken;

 private:
  // What the loop holds on to: outlives the connection until the loop lets go of it.
  struct Waits;

  static void OnConnected(rpc_context* rpc, int status, void* data, void* self);
  void Wait();
  void Serve(int events);
  int EventsAtTurnEnd() const;
  int SocketError() const;
  void Break(int error);
  void TuneSocket();

  const NfsLibrary& library_;
  EventLoop& loop_;
  rpc_context* context_;
  Waits* waits_;
  std::function<void(Status)> connect_done_;
  bool connect_pending_ = false;  // libnfs will report the end of a connect
  int fd_ = -1;
  int error_ = 0;  // why it is broken
};

}  // namespace varve
