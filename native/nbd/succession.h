// Succession: what one process leaves to the next one, so that clients keep their connections.
//
//   parked sessions, listening sockets ──state, descriptors──▶ the next process ──▶ sessions, listeners
//
// The state is bytes; the descriptors travel beside it, one for each entry and in their order (fd_mail.h), and may be missing: of
// a client that has hung up meanwhile.
// Invariants:
//   - A state of another version, or damaged, is refused as a whole, never half understood.
//   - Of one that is taken every number is within its bounds; that names fit, the registry checks.
// Thread: any.
// Elsewhere: how a session is parked (session.h), what makes an export the same (registry.h). Layout: docs/architecture.md, "Restart".
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/unique_fd.h"
#include "nbd/listen_socket.h"
#include "nbd/server.h"
#include "nbd/request_header.h"

namespace varve::nbd {

// A client between two processes.
struct ParkedClient {
  UniqueFd fd;
  std::string identity;  // of the export, ExportSpec::identity
  ClientStats stats;     // without `client` and `in_flight`, which the next process has its own of
  // What was agreed. The contexts it selected, with the names of all that there were.
  uint64_t size_bytes = 0;
  uint16_t transmission_flags = 0;
  Framing framing = Framing::kSimple;
  ContextBits contexts = 0;
  std::vector<std::string> context_names;
  std::string unanswered;  // as ParkedSession's
};

struct Succession {
  std::vector<ListenSocket> listeners;
  std::vector<ParkedClient> clients;

  // In the order of the state's entries.
  std::vector<UniqueFd*> Descriptors();
  std::vector<const UniqueFd*> Descriptors() const;
};

std::string EncodeSuccession(const Succession& succession);

// Errors: EPROTO another version; EBADMSG no state, damaged or cut off. `succession` is empty then.
Status DecodeSuccession(std::span<const std::byte> state, Succession* succession);

}  // namespace varve::nbd
