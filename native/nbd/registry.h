// Registry: what listens, what is exported, who is connected; shared by all loops.
//
// Lock order: mutex_ is the only lock here, held for look-ups and counts, never over a callback or a call into
// a shard. Everything with a loop of its own is reached by Post().
// Life: the server holds it; so does every closure on its way to a loop.
// Thread: any, unless said otherwise.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nbd/catalog.h"
#include "nbd/export.h"
#include "nbd/fence.h"
#include "nbd/listener.h"
#include "nbd/memory_budget.h"
#include "nbd/server.h"
#include "nbd/shard.h"
#include "nbd/succession.h"

namespace varve::nbd {

// A client's place at an export, claimed and not yet used.
struct Entry {
  std::shared_ptr<Export> entered;
  ClientId client = 0;
  Shard* shard = nullptr;  // where it will be served
  bool alone = false;
};

// What a session of an export works on, as of one moment.
struct ServedTarget {
  std::shared_ptr<BlockTarget> target;
  bool paused = false;
};

class Registry : public std::enable_shared_from_this<Registry> {
 public:
  Registry(std::vector<EventLoop*> loops, const ServerLimits& limits, ServerEvents* events);

  // The server's verbs (server.h).
  Status AddListener(const ListenAddress& address, ListenerId* id, uint16_t* port);
  Status CloseListener(ListenerId id, std::function<void()> done);
  Status AddExport(ExportSpec spec);
  Status RemoveExport(const std::string& name, Parting parting, std::function<void(unsigned clients)> done);
  Status PauseExport(const std::string& name, std::function<void()> done);
  Status ResumeExport(const std::string& name, std::shared_ptr<BlockTarget> target, std::function<void()> done);
  std::vector<ClientStats> ListClients() const;
  // Of one process and the next: registry_succession.cc.
  Status ParkListener(ListenerId id, std::function<void()> done);
  void ParkClients(std::function<void()> done);
  Succession TakeParked();
  void Inherit(Succession inherited);
  Adoption Adopt();
  void Close(std::function<void()> done);

  // What a handshake asks, about the exports of the listener it came through.
  std::vector<ExportView> List(ListenerId listener) const;
  bool Find(ListenerId listener, std::string_view name, ExportView* view) const;
  Admission Enter(ListenerId listener, std::string_view name, ExportView* view, Entry* entry);
  // Gives up a place: the client's session is gone, or never came to be.
  void Leave(const std::shared_ptr<Export>& left);

  // A negotiation may begin. False when there are too many, or the server closes.
  bool BeginNegotiation();
  void EndNegotiation();

  // Loop threads: a session began, or is gone.
  void ClientConnected(std::shared_ptr<ClientRecord> record);
  void ClientGone(const ClientRecord& record, const std::shared_ptr<Export>& left, const char* reason);
  // Another process goes on with the client.
  void ClientParked(const Session& session, const Export& left, ParkedSession parked);
  bool IsParking() const;
  bool IsRemoved(const Export& asked) const;
  ServedTarget TargetOf(const Export& asked) const;

  // Runs `work` on every shard's loop, this registry kept alive until then.
  void OnEveryShard(std::function<void(Shard&)> work);

  MemoryBudget& budget() { return budget_; }
  MemoryBudget& waiting_budget() { return waiting_budget_; }
  const ServerLimits& limits() const { return limits_; }

 private:
  std::shared_ptr<Export> Lookup(ListenerId listener, std::string_view name) const;  // with mutex_ held
  Status CheckSpec(const ExportSpec& spec) const;                                    // with mutex_ held
  bool IsFull(const Export& asked) const;                                            // with mutex_ held
  Entry Claim(const std::shared_ptr<Export>& entered);                               // with mutex_ held
  const char* Reclaim(const ParkedClient& client, Entry* entry);
  void Continue(ParkedClient client, Entry entry);
  Status OpenSocket(const ListenAddress& address, ListenSocket* socket);             // with mutex_ held
  std::shared_ptr<Listener> TakeListener(ListenerId id);
  void Release();
  EventLoop& first_loop() { return shards_.front()->loop(); }

  const ServerLimits limits_;
  ServerEvents* const events_;
  MemoryBudget budget_;
  MemoryBudget waiting_budget_;
  std::vector<std::unique_ptr<Shard>> shards_;

  mutable std::mutex mutex_;  // guards what follows
  std::map<ListenerId, std::shared_ptr<Listener>> listeners_;
  std::map<std::string, std::shared_ptr<Export>, std::less<>> exports_;
  std::unordered_map<ClientId, std::shared_ptr<ClientRecord>> records_;
  ListenerId last_listener_ = 0;
  ClientId last_client_ = 0;
  unsigned clients_ = 0;
  unsigned negotiations_ = 0;
  bool closing_ = false;
  bool parking_ = false;
  Succession parked_;
  bool adopting_ = false;  // Inherit() was called, Adopt() was not
  Succession inherited_;
  // Listeners, negotiations and claimed places, and one for being open: at none, closing is done.
  size_t alive_ = 1;
  std::function<void()> on_closed_;
};

}  // namespace varve::nbd
