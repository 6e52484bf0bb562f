// Leaving clients and listening sockets to the next process, and going on with those of the last one.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "nbd/registry.h"
#include "nbd/socket_transport.h"

namespace varve::nbd {
namespace {

// What this version knows how to do; a client may have been told more by a newer one.
constexpr uint16_t kKnownFlags = kHasFlags | kReadOnly | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes |
                                 kSendDontFragment | kCanMultiConn | kSendCache | kSendFastZero | kBlockStatusPayload;

std::vector<std::string> NamesOf(const ChangedContexts& contexts) {
  std::vector<std::string> names;
  if (!contexts) return names;
  for (const ChangedContext& context : *contexts) names.push_back(context.name);
  return names;
}

// Why the client cannot go on with the export; null: it can.
const char* DifferenceOf(const ParkedClient& client, const ExportSpec& spec) {
  if (spec.identity.empty() || client.identity != spec.identity) return "another export has its name now";
  if (client.size_bytes > spec.target->size_bytes()) return "its export is smaller now";
  if (((client.transmission_flags & kReadOnly) != 0) != spec.read_only) return "its export may be written to otherwise now";
  if ((client.transmission_flags & ~kKnownFlags) != 0) return "it was promised what this version does not do";
  if (client.context_names != NamesOf(spec.contexts)) return "its export tells other changes now";
  return nullptr;
}

}  // namespace

Status Registry::ParkListener(ListenerId id, std::function<void()> done) {
  std::shared_ptr<Listener> listener = TakeListener(id);
  if (!listener) return Status(ENOENT, "no such listener");
  EventLoop& loop = listener->loop();
  loop.Post([self = shared_from_this(), listener = std::move(listener), done = std::move(done)] {
    listener->Park([self, listener, done](ListenSocket socket) {
      {
        std::lock_guard lock(self->mutex_);
        self->parked_.listeners.push_back(std::move(socket));
      }
      done();
      self->Release();
    });
  });
  return Status::Ok();
}

void Registry::ParkClients(std::function<void()> done) {
  {
    std::lock_guard lock(mutex_);
    parking_ = true;
  }
  auto hold = std::make_shared<Fence>(std::move(done));
  OnEveryShard([hold](Shard& shard) {
    shard.AbortNegotiations();
    shard.ParkSessions(hold);
  });
}

bool Registry::IsParking() const {
  std::lock_guard lock(mutex_);
  return parking_;
}

void Registry::ClientParked(const Session& session, const Export& left, ParkedSession parked) {
  const Terms& terms = session.terms();
  ParkedClient client;
  client.fd = parked.transport->TakeDescriptor();
  client.identity = left.spec.identity;
  client.stats = session.record().Snapshot();
  client.size_bytes = terms.size_bytes;
  client.transmission_flags = terms.transmission_flags;
  client.framing = terms.framing;
  client.contexts = terms.contexts.bits;
  client.context_names = NamesOf(left.spec.contexts);
  client.unanswered = std::move(parked.unanswered);
  std::lock_guard lock(mutex_);
  parked_.clients.push_back(std::move(client));
}

Succession Registry::TakeParked() {
  std::lock_guard lock(mutex_);
  return std::exchange(parked_, {});
}

void Registry::Inherit(Succession inherited) {
  std::lock_guard lock(mutex_);
  inherited_ = std::move(inherited);
  adopting_ = true;
}

Status Registry::OpenSocket(const ListenAddress& address, ListenSocket* socket) {
  for (ListenSocket& inherited : inherited_.listeners) {
    if (!inherited.fd.valid() || !ListensOn(inherited, address)) continue;
    *socket = std::move(inherited);
    return Status::Ok();
  }
  return OpenListenSocket(address, socket);
}

Adoption Registry::Adopt() {
  Succession inherited;
  std::vector<std::shared_ptr<Listener>> waiting;
  {
    std::lock_guard lock(mutex_);
    inherited = std::exchange(inherited_, {});
    if (std::exchange(adopting_, false)) {
      for (const auto& [id, listener] : listeners_) waiting.push_back(listener);
    }
  }
  Adoption adoption;
  for (ParkedClient& client : inherited.clients) {
    Entry entry;
    if (const char* reason = Reclaim(client, &entry)) {
      adoption.refused.push_back({client.stats.export_name, client.stats.address, reason});
    } else {
      adoption.clients++;
      Continue(std::move(client), std::move(entry));
    }
  }
  for (const ListenSocket& unwanted : inherited.listeners) {
    if (unwanted.fd.valid()) RemovePath(unwanted);
  }
  // Behind the clients in every loop's order: who comes next is younger than they are.
  for (const auto& listener : waiting) listener->loop().Post([listener] { listener->Start(); });
  return adoption;
}

// Claims a place for the client. Returns why it gets none; null: it did.
const char* Registry::Reclaim(const ParkedClient& client, Entry* entry) {
  if (!client.fd.valid()) return "it has hung up meanwhile";
  std::lock_guard lock(mutex_);
  const auto found = exports_.find(client.stats.export_name);
  if (found == exports_.end()) return "its export is not served any more";
  if (const char* difference = DifferenceOf(client, found->second->spec)) return difference;
  if (IsFull(*found->second)) return "there are too many clients";
  *entry = Claim(found->second);
  return nullptr;
}

void Registry::Continue(ParkedClient client, Entry entry) {
  auto record = std::make_shared<ClientRecord>();
  record->id = entry.client;
  record->export_name = client.stats.export_name;
  record->address = client.stats.address;
  record->Restore(client.stats);
  auto arrival = std::make_shared<NewClient>(NewClient{
      .target_export = entry.entered,
      .record = std::move(record),
      .transport = std::make_unique<SocketTransport>(entry.shard->loop(), std::move(client.fd)),
      .terms = {client.size_bytes, client.transmission_flags, client.framing, {client.contexts, entry.entered->spec.contexts}},
      .early = std::move(client.unanswered),
      // Nothing of any client is under way: where there are several, none has to wait for another.
      .alone = true,
  });
  entry.shard->loop().Post([self = shared_from_this(), shard = entry.shard, arrival] { shard->Adopt(std::move(*arrival)); });
}

}  // namespace varve::nbd
