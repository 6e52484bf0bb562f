#include "nbd/shard.h"

#include <utility>

#include "nbd/listen_socket.h"
#include "nbd/registry.h"
#include "nbd/socket_transport.h"

namespace varve::nbd {
namespace {

// The exports as one connection sees them; keeps the place it claimed.
class ListenerCatalog final : public Catalog {
 public:
  ListenerCatalog(Registry& registry, ListenerId listener) : registry_(registry), listener_(listener) {}
  ~ListenerCatalog() override {
    if (entry_.entered) registry_.Leave(entry_.entered);
  }

  std::vector<ExportView> List() override { return registry_.List(listener_); }
  bool Find(std::string_view name, ExportView* view) override { return registry_.Find(listener_, name, view); }
  Admission Enter(std::string_view name, ExportView* view) override {
    return registry_.Enter(listener_, name, view, &entry_);
  }
  // The claimed place is the caller's now.
  Entry TakeEntry() { return std::exchange(entry_, Entry{}); }

 private:
  Registry& registry_;
  ListenerId listener_;
  Entry entry_;
};

Terms TermsOf(const Agreement& agreement) {
  return {agreement.view.size_bytes, agreement.transmission_flags, agreement.framing, agreement.contexts};
}

std::shared_ptr<ClientRecord> RecordOf(ClientId id, const Agreement& agreement, std::string address) {
  auto record = std::make_shared<ClientRecord>();
  record->id = id;
  record->export_name = agreement.view.name;
  record->address = std::move(address);
  record->connected_at = std::chrono::system_clock::now();
  return record;
}

}  // namespace

void Shard::Negotiate(UniqueFd fd, ListenerId listener) {
  if (!registry_.BeginNegotiation()) return;
  std::string address = PeerAddress(fd.get());
  auto negotiation =
      std::make_unique<Negotiation>(loop_, *this, std::make_unique<ListenerCatalog>(registry_, listener),
                                    std::make_unique<SocketTransport>(loop_, std::move(fd)));
  Negotiation& started = *negotiation;
  negotiations_.emplace(&started, Greeted{std::move(negotiation), std::move(address)});
  started.Start(registry_.limits().handshake_timeout);
}

void Shard::NegotiationEnded(Negotiation* negotiation) {
  loop_.Post([self = registry_.shared_from_this(), this, negotiation] { CloseNegotiation(negotiation); });
}

void Shard::CloseNegotiation(Negotiation* negotiation) {
  Greeted greeted = std::move(negotiations_.extract(negotiation).mapped());
  if (greeted.negotiation->agreed()) HandOver(std::move(greeted));
  greeted.negotiation.reset();
  registry_.EndNegotiation();
}

// To the loop that will serve the client, with whatever it has already sent.
void Shard::HandOver(Greeted greeted) {
  Negotiation& negotiation = *greeted.negotiation;
  Entry entry = static_cast<ListenerCatalog&>(negotiation.catalog()).TakeEntry();
  const auto early = negotiation.early();
  auto client = std::make_shared<NewClient>(NewClient{
      .target_export = std::move(entry.entered),
      .record = RecordOf(entry.client, negotiation.agreement(), std::move(greeted.address)),
      .transport = negotiation.TakeTransport(),
      .terms = TermsOf(negotiation.agreement()),
      .early = std::string(reinterpret_cast<const char*>(early.data()), early.size()),
      .alone = entry.alone,
  });
  client->transport->MoveTo(entry.shard->loop());
  entry.shard->loop().Post([self = registry_.shared_from_this(), shard = entry.shard, client] {
    shard->Adopt(std::move(*client));
  });
}

void Shard::Adopt(NewClient client) {
  const std::shared_ptr<Export> served = std::move(client.target_export);
  const ClientId id = client.record->id;
  registry_.ClientConnected(client.record);
  const ServedTarget target = registry_.TargetOf(*served);
  auto session = std::make_unique<Session>(SessionParts{
      .loop = loop_,
      .buffers = buffers_,
      .budget = registry_.budget(),
      .waiting_budget = registry_.waiting_budget(),
      .host = *this,
      .transport = std::move(client.transport),
      .target = target.target,
      .record = std::move(client.record),
      .terms = client.terms,
  });
  Session& started = *session;
  Served& entered = sessions_.emplace(id, Served{std::move(session), served, nullptr}).first->second;
  const bool fenced = !client.alone && !client.terms.Offers(kReadOnly);
  if (fenced) RaiseFence(served.get(), id);
  if (target.paused) started.Pause(nullptr);
  started.Start(std::move(client.early), fenced);
  // Removal, or the end of the service, may have passed by while the client was between two loops.
  if (registry_.IsRemoved(*served)) started.Drain("the export was removed");
  if (registry_.IsParking()) Park(entered);
}

void Shard::RaiseFence(const Export* fenced, ClientId newcomer) {
  auto registry = registry_.shared_from_this();
  auto fence = std::make_shared<Fence>([registry, this, newcomer] {
    loop_.Post([registry, this, newcomer] { OpenFence(newcomer); });
  });
  registry_.OnEveryShard([fenced, newcomer, fence](Shard& shard) { shard.JoinFence(fenced, newcomer, fence); });
}

void Shard::OpenFence(ClientId newcomer) {
  if (const auto found = sessions_.find(newcomer); found != sessions_.end()) found->second.session->OpenFence();
}

// Only the older ones: two newcomers that waited for each other would do so for ever.
void Shard::JoinFence(const Export* fenced, ClientId newcomer, const FenceHold& hold) {
  for (auto& [id, served] : sessions_) {
    if (served.served_export.get() == fenced && id < newcomer) served.session->JoinFence(hold);
  }
}

void Shard::EndExport(const Export* removed, Parting parting) {
  for (auto& [id, served] : sessions_) {
    if (served.served_export.get() != removed) continue;
    if (parting == Parting::kAbort) served.session->Abort("another host serves the export now");
    // What waits there would not be answered any more.
    else if (served.session->paused()) served.session->Abort("the export was removed while it was paused");
    else served.session->Drain("the export was removed");
  }
}

void Shard::PauseExport(const Export* paused, const FenceHold& hold) {
  for (auto& [id, served] : sessions_) {
    if (served.served_export.get() == paused) served.session->Pause(hold);
  }
}

void Shard::ResumeExport(const Export* resumed, const std::shared_ptr<BlockTarget>& target) {
  for (auto& [id, served] : sessions_) {
    if (served.served_export.get() == resumed) served.session->Resume(target);
  }
}

void Shard::ParkSessions(const FenceHold& hold) {
  for (auto& [id, served] : sessions_) {
    served.parting = hold;
    Park(served);
  }
}

void Shard::Park(Served& served) {
  if (served.served_export->spec.identity.empty()) return served.session->Drain("the service stopped");
  served.session->Park();
}

void Shard::AbortStalled() {
  for (auto& [id, served] : sessions_) served.session->AbortIfStalled();
}

void Shard::AbortNegotiations() {
  for (auto& [negotiation, greeted] : negotiations_) negotiation->Abort();
}

void Shard::MemoryWantedBack() {
  registry_.OnEveryShard([](Shard& shard) { shard.AbortStalled(); });
}

void Shard::SessionEnded(Session* session) {
  loop_.Post([self = registry_.shared_from_this(), this, id = session->record().id] { Remove(id); });
}

void Shard::SessionParked(Session* session) {
  loop_.Post([self = registry_.shared_from_this(), this, id = session->record().id] { Leave(id); });
}

void Shard::Leave(ClientId client) {
  Session& session = *sessions_.at(client).session;
  ParkedSession parked = session.TakeParked();
  registry_.ClientParked(session, *sessions_.at(client).served_export, std::move(parked));
  Remove(client);
}

void Shard::Remove(ClientId client) {
  Served served = std::move(sessions_.extract(client).mapped());
  const std::shared_ptr<ClientRecord> record = served.session->shared_record();
  const char* reason = served.session->end_reason();
  served.session.reset();
  registry_.ClientGone(*record, served.served_export, reason);
}

}  // namespace varve::nbd
