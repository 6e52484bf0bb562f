// Shard: the connections of one loop.
//
//   Negotiate ──agreed──▶ (chosen shard) Adopt ──ended──▶ registry told
//   another process's client ──────────────▲   └─parked──▶ left to the registry
//
// Invariant: a connection's objects are destroyed on this loop, in a turn of their own.
// Thread: its loop's; other threads come through loop().Post().
// Elsewhere: what is exported and who may enter (registry.h).
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/event_loop.h"
#include "io/unique_fd.h"
#include "nbd/buffer_pool.h"
#include "nbd/export.h"
#include "nbd/fence.h"
#include "nbd/negotiation.h"
#include "nbd/session.h"

namespace varve::nbd {

class Registry;

// A client that has agreed, on its way to the loop that will serve it.
struct NewClient {
  std::shared_ptr<Export> target_export;
  std::shared_ptr<ClientRecord> record;
  std::unique_ptr<Transport> transport;
  Terms terms;
  std::string early;  // as Session::Start()
  bool alone = false;  // no other client had the export when this one entered
};

class Shard final : public NegotiationHost, public SessionHost {
 public:
  Shard(EventLoop& loop, Registry& registry) : loop_(loop), registry_(registry) {}

  EventLoop& loop() { return loop_; }

  void Negotiate(UniqueFd fd, ListenerId listener);
  void Adopt(NewClient client);

  // Of all sessions here: those of an export that are older than `newcomer`, those of an export, those whose client stalls.
  void JoinFence(const Export* fenced, ClientId newcomer, const FenceHold& hold);
  void EndExport(const Export* removed, Parting parting);
  void PauseExport(const Export* paused, const FenceHold& hold);
  void ResumeExport(const Export* resumed, const std::shared_ptr<BlockTarget>& target);
  // Of every session here; each keeps `hold` until it is gone.
  void ParkSessions(const FenceHold& hold);
  void AbortStalled();
  void AbortNegotiations();

 private:
  struct Served {
    std::unique_ptr<Session> session;
    std::shared_ptr<Export> served_export;
    FenceHold parting;
  };
  struct Greeted {
    std::unique_ptr<Negotiation> negotiation;
    std::string address;
  };

  void NegotiationEnded(Negotiation* negotiation) override;
  void SessionEnded(Session* session) override;
  void SessionParked(Session* session) override;
  void MemoryWantedBack() override;
  void CloseNegotiation(Negotiation* negotiation);
  void HandOver(Greeted greeted);
  void RaiseFence(const Export* fenced, ClientId newcomer);
  void OpenFence(ClientId newcomer);
  void Remove(ClientId client);
  void Park(Served& served);
  void Leave(ClientId client);

  EventLoop& loop_;
  Registry& registry_;
  BufferPool buffers_;
  std::unordered_map<Negotiation*, Greeted> negotiations_;
  std::unordered_map<ClientId, Served> sessions_;
};

}  // namespace varve::nbd
