// Server: NBD listeners, exports and the clients connected to them.
//
//   AddListener ──accept──▶ handshake ──GO──▶ session ──▶ BlockTarget
//                 (one loop)            (loops in turn, per export)
//
// Invariants:
//   - An export removed is unreachable at once; its clients finish what is in
//     flight and are closed without an error reply, so that QEMU reconnects.
//   - Established clients are never closed to make room for new ones.
//   - Memory for requests stays under limits.buffer_bytes, one request excepted.
// Thread: every public method may be called from any thread and never waits for a client or a
// disk. Callbacks and ServerEvents come on a loop's thread and must not wait.
// Elsewhere: bytes of the protocol (handshake.h, request.h, reply.h), one connection (session.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/event_loop.h"
#include "nbd/contexts.h"
#include "volume/block_target.h"

namespace varve::nbd {

class Registry;
struct Succession;

using ListenerId = uint64_t;  // never reused; 0 is none
using ClientId = uint64_t;    // never reused; 0 is none

// How the clients of a removed export are parted from.
enum class Parting : uint8_t { kDrain, kAbort };

struct ServerLimits {
  // Memory of requests in flight, all clients together. Each client may always have one request, served in turn when
  // memory is short. As much again may be taken by writes that wait for space in their pool. Receive buffers (256 KiB of address space per client, committed as used) come on top.
  uint64_t buffer_bytes = uint64_t{256} << 20;
  unsigned clients_max = 4096;             // established, all exports together
  unsigned clients_per_export_max = 1024;  // the next one is refused with ERR_POLICY
  unsigned handshakes_max = 1024;          // unfinished; the newest is refused first
  std::chrono::milliseconds handshake_timeout{10'000};
};

// Where to listen: a unix socket when `path` is set, else TCP.
struct ListenAddress {
  std::string path;    // at most 107 bytes
  std::string host;    // numeric IPv4 or IPv6 address; empty is every address
  uint16_t port = 0;   // 0 picks one
};

struct ExportSpec {
  std::string name;         // unique in the server; at most 4096 bytes of UTF-8
  std::string description;  // shown by LIST; at most 4096 bytes of UTF-8
  bool read_only = false;
  std::shared_ptr<BlockTarget> target;  // kept until the last request of it has ended
  std::vector<ListenerId> listeners;    // reachable through these
  ChangedContexts contexts;             // offered besides base:allocation; may be null
  // Of another process's export of the same name: the same bytes. Empty: no other process ever serves them.
  std::string identity;
};

struct ClientStats {
  ClientId client = 0;
  std::string export_name;
  std::string address;  // "unix:pid=123,uid=0" or "192.0.2.1:40000"
  std::chrono::system_clock::time_point connected_at;
  uint64_t reads = 0, writes = 0;            // completed commands; writes include trims and zeroes
  uint64_t read_bytes = 0, write_bytes = 0;  // payload sent and taken
  uint64_t in_flight = 0;                    // received, not yet answered
};

// What became of the clients that another process had left.
struct Adoption {
  struct Refused {
    std::string export_name;
    std::string address;
    const char* reason;
  };
  unsigned clients = 0;
  std::vector<Refused> refused;
};

// Told of established clients only. Each connected is followed by one disconnected.
class ServerEvents {
 public:
  virtual ~ServerEvents() = default;
  virtual void ClientConnected(ClientId client, std::string_view export_name, std::string_view address) = 0;
  // reason: a short sentence for the log ("client disconnected", "bad request magic").
  virtual void ClientDisconnected(ClientId client, std::string_view export_name, std::string_view reason) = 0;
};

class Server {
 public:
  // loops, events: outlive the server; the loops are started and at least one.
  Server(std::vector<EventLoop*> loops, const ServerLimits& limits, ServerEvents* events);
  // Close() has reported its end.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Starts to listen. A unix socket gets mode 0660 and replaces one that nobody answers.
  // id: the new listener. port: the one in use, when TCP (may be null).
  // Errors: EADDRINUSE somebody listens there, or the path is no socket; ENAMETOOLONG path over 107
  //   bytes; EINVAL host is no numeric address; else what socket, bind and listen say.
  Status AddListener(const ListenAddress& address, ListenerId* id, uint16_t* port);

  // Stops accepting and removes the socket's path if it is still ours. Clients already accepted stay.
  // done: once the descriptor is closed. Errors: ENOENT no such listener.
  Status CloseListener(ListenerId id, std::function<void()> done);

  // Clients may connect from now on. The empty name asks for a listener's only export.
  // Errors: EEXIST the name is taken; EINVAL name or description too long or not UTF-8, no target, or contexts
  //   that are none (contexts.h); ENOENT no such listener.
  Status AddExport(ExportSpec spec);

  // Refuses new clients at once. Connected ones finish what is in flight and are closed; with kAbort nothing is answered any more, for
  // an export that another host serves now: a client that loses its connection tries again there, one that got an error would not.
  // done: when none is left and the target was let go; with how many there were. Errors: ENOENT.
  Status RemoveExport(const std::string& name, Parting parting, std::function<void(unsigned clients)> done);

  // Requests of the export's clients wait from now on, also of those that come; they stay connected.
  // done: when the target has none of them any more. Errors: ENOENT.
  Status PauseExport(const std::string& name, std::function<void()> done);

  // They go on: with `target`, which serves the same bytes, in place of the old one, when it is given.
  // done: when no session reaches the old target any more. Errors: ENOENT.
  Status ResumeExport(const std::string& name, std::shared_ptr<BlockTarget> target, std::function<void()> done);

  // Every established client, in no order.
  std::vector<ClientStats> ListClients() const;

  // Stops accepting without closing: the socket goes on listening, for the next process to accept what comes.
  // done: once it can be left. Errors: ENOENT no such listener.
  Status ParkListener(ListenerId id, std::function<void()> done);

  // Every client that another process can go on with is left as it is once what is in flight has been answered (Session::Park); others
  // are closed. done: when none is left, those excepted that were still between handshake and session.
  void ParkClients(std::function<void()> done);

  // What was parked until now, the caller's from now on.
  Succession TakeParked();

  // What another process has parked, instead of what was inherited before. Call before the first AddListener(): it goes on with the socket that there is. Listeners
  // accept only behind Adopt(), so that the exports are there, and older clients known before newer ones.
  void Inherit(Succession inherited);

  // The clients inherited go on where their export is the same, not smaller and offers what they were told. Others are closed, and so are
  // listening sockets that nobody asked for.
  Adoption Adopt();

  // Closes listeners, unfinished handshakes and clients as above. Call once, last.
  // done: on a loop's thread; destroy the server after it has returned.
  void Close(std::function<void()> done);

 private:
  std::shared_ptr<Registry> registry_;
};

}  // namespace varve::nbd
