#include "nbd/registry.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "nbd/text.h"

namespace varve::nbd {
namespace {

bool IsReachable(const Export& exported, ListenerId listener) {
  const auto& listeners = exported.spec.listeners;
  return std::find(listeners.begin(), listeners.end(), listener) != listeners.end();
}

ExportView ViewOf(const ExportSpec& spec) {
  return {.name = spec.name,
          .description = spec.description,
          .size_bytes = spec.target->size_bytes(),
          .preferred_block_bytes = spec.target->preferred_block_bytes(),
          .read_only = spec.read_only,
          .contexts = spec.contexts};
}

}  // namespace

Registry::Registry(std::vector<EventLoop*> loops, const ServerLimits& limits, ServerEvents* events)
    : limits_(limits), events_(events), budget_(limits.buffer_bytes), waiting_budget_(limits.buffer_bytes) {
  for (EventLoop* loop : loops) shards_.push_back(std::make_unique<Shard>(*loop, *this));
}

Status Registry::AddListener(const ListenAddress& address, ListenerId* id, uint16_t* port) {
  std::lock_guard lock(mutex_);
  ListenSocket socket;
  if (const Status opened = OpenSocket(address, &socket); !opened.ok()) return opened;
  if (port != nullptr) *port = socket.port;
  *id = ++last_listener_;
  Shard& shard = *shards_[*id % shards_.size()];
  auto listener = std::make_shared<Listener>(shard.loop(), std::move(socket), [&shard, listener_id = *id](UniqueFd fd) {
    shard.Negotiate(std::move(fd), listener_id);
  });
  listeners_.emplace(*id, listener);
  alive_++;
  if (!adopting_) shard.loop().Post([listener] { listener->Start(); });
  return Status::Ok();
}

Status Registry::CloseListener(ListenerId id, std::function<void()> done) {
  std::shared_ptr<Listener> listener = TakeListener(id);
  if (!listener) return Status(ENOENT, "no such listener");
  EventLoop& loop = listener->loop();
  loop.Post([self = shared_from_this(), listener = std::move(listener), done = std::move(done)] {
    listener->Close([self, listener, done] {
      done();
      self->Release();
    });
  });
  return Status::Ok();
}

std::shared_ptr<Listener> Registry::TakeListener(ListenerId id) {
  std::lock_guard lock(mutex_);
  auto found = listeners_.extract(id);
  return found.empty() ? nullptr : std::move(found.mapped());
}

Status Registry::CheckSpec(const ExportSpec& spec) const {
  if (!spec.target) return Status(EINVAL, "an export needs a target");
  if (!IsProtocolString(spec.name) || !IsProtocolString(spec.description)) {
    return Status(EINVAL, "name and description are UTF-8 of at most 4096 bytes");
  }
  for (const ListenerId id : spec.listeners) {
    if (!listeners_.contains(id)) return Status(ENOENT, "no such listener");
  }
  if (exports_.contains(spec.name)) return Status(EEXIST, "an export has this name");
  return Status::Ok();
}

Status Registry::AddExport(ExportSpec spec) {
  // Looks at every run, so not under the lock.
  if (spec.contexts) {
    if (const Status checked = CheckContexts(*spec.contexts); !checked.ok()) return checked;
  }
  std::lock_guard lock(mutex_);
  if (const Status checked = CheckSpec(spec); !checked.ok()) return checked;
  std::string name = spec.name;
  exports_.emplace(std::move(name), std::make_shared<Export>(std::move(spec)));
  return Status::Ok();
}

Status Registry::RemoveExport(const std::string& name, Parting parting, std::function<void(unsigned clients)> done) {
  std::shared_ptr<Export> removed;
  {
    std::lock_guard lock(mutex_);
    auto found = exports_.extract(name);
    if (found.empty()) return Status(ENOENT, "no such export");
    removed = std::move(found.mapped());
    removed->removed = true;
    removed->on_empty = [done = std::move(done), clients = removed->clients] { done(clients); };
    // Removal itself holds a place, so that the end is reported in one way.
    removed->clients++;
    clients_++;
    alive_++;
  }
  OnEveryShard([removed, parting](Shard& shard) { shard.EndExport(removed.get(), parting); });
  first_loop().Post([self = shared_from_this(), removed] { self->Leave(removed); });
  return Status::Ok();
}

Status Registry::PauseExport(const std::string& name, std::function<void()> done) {
  std::shared_ptr<Export> paused;
  {
    std::lock_guard lock(mutex_);
    const auto found = exports_.find(name);
    if (found == exports_.end()) return Status(ENOENT, "no such export");
    paused = found->second;
    paused->paused = true;
  }
  auto hold = std::make_shared<Fence>(std::move(done));
  OnEveryShard([paused, hold](Shard& shard) { shard.PauseExport(paused.get(), hold); });
  return Status::Ok();
}

// A client between two loops sees the pause as it is now, and is there before the shard hears of its end.
Status Registry::ResumeExport(const std::string& name, std::shared_ptr<BlockTarget> target, std::function<void()> done) {
  std::shared_ptr<Export> resumed;
  std::shared_ptr<BlockTarget> old;
  {
    std::lock_guard lock(mutex_);
    const auto found = exports_.find(name);
    if (found == exports_.end()) return Status(ENOENT, "no such export");
    resumed = found->second;
    resumed->paused = false;
    if (target) old = std::exchange(resumed->spec.target, std::move(target));
  }
  auto resumed_everywhere = std::make_shared<Fence>(std::move(done));
  OnEveryShard([resumed, resumed_everywhere, target = TargetOf(*resumed).target](Shard& shard) {
    shard.ResumeExport(resumed.get(), target);
  });
  return Status::Ok();
}

std::vector<ClientStats> Registry::ListClients() const {
  std::lock_guard lock(mutex_);
  std::vector<ClientStats> clients;
  clients.reserve(records_.size());
  for (const auto& [id, record] : records_) clients.push_back(record->Snapshot());
  return clients;
}

void Registry::Close(std::function<void()> done) {
  std::vector<ListenerId> listeners;
  std::vector<std::string> exports;
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    on_closed_ = std::move(done);
    for (const auto& [id, listener] : listeners_) listeners.push_back(id);
    for (const auto& [name, exported] : exports_) exports.push_back(name);
  }
  // Either may have gone meanwhile; then there is nothing left to do for it.
  for (const ListenerId id : listeners) (void)CloseListener(id, [] {});
  for (const std::string& name : exports) (void)RemoveExport(name, Parting::kDrain, [](unsigned) {});
  OnEveryShard([](Shard& shard) { shard.AbortNegotiations(); });
  Release();
}

void Registry::Release() {
  std::function<void()> closed;
  {
    std::lock_guard lock(mutex_);
    if (--alive_ == 0) closed = std::move(on_closed_);
  }
  if (closed) first_loop().Post([self = shared_from_this(), closed = std::move(closed)] { closed(); });
}

std::vector<ExportView> Registry::List(ListenerId listener) const {
  std::lock_guard lock(mutex_);
  std::vector<ExportView> views;
  for (const auto& [name, exported] : exports_) {
    if (IsReachable(*exported, listener)) views.push_back(ViewOf(exported->spec));
  }
  return views;
}

std::shared_ptr<Export> Registry::Lookup(ListenerId listener, std::string_view name) const {
  if (const auto found = exports_.find(name); found != exports_.end() && IsReachable(*found->second, listener)) {
    return found->second;
  }
  if (!name.empty()) return nullptr;
  std::shared_ptr<Export> only;
  for (const auto& [other, exported] : exports_) {
    if (!IsReachable(*exported, listener)) continue;
    if (only) return nullptr;
    only = exported;
  }
  return only;
}

bool Registry::Find(ListenerId listener, std::string_view name, ExportView* view) const {
  std::lock_guard lock(mutex_);
  const auto found = Lookup(listener, name);
  if (found) *view = ViewOf(found->spec);
  return found != nullptr;
}

Admission Registry::Enter(ListenerId listener, std::string_view name, ExportView* view, Entry* entry) {
  std::lock_guard lock(mutex_);
  const auto found = Lookup(listener, name);
  if (!found) return Admission::kUnknown;
  if (IsFull(*found)) return Admission::kFull;
  *view = ViewOf(found->spec);
  *entry = Claim(found);
  return Admission::kEntered;
}

bool Registry::IsFull(const Export& asked) const {
  return clients_ >= limits_.clients_max || asked.clients >= limits_.clients_per_export_max;
}

Entry Registry::Claim(const std::shared_ptr<Export>& entered) {
  Entry entry{entered, ++last_client_, shards_[entered->next_loop++ % shards_.size()].get(), entered->clients == 0};
  entered->clients++;
  clients_++;
  alive_++;
  return entry;
}

void Registry::Leave(const std::shared_ptr<Export>& left) {
  std::function<void()> empty;
  std::shared_ptr<BlockTarget> target;
  {
    std::lock_guard lock(mutex_);
    clients_--;
    left->clients--;
    if (left->removed && left->clients == 0) {
      empty = std::move(left->on_empty);
      target = std::move(left->spec.target);
    }
  }
  // Let go of before it is reported, and outside the lock: a volume's end may take its own.
  target.reset();
  if (empty) empty();
  Release();
}

bool Registry::BeginNegotiation() {
  std::lock_guard lock(mutex_);
  if (closing_ || negotiations_ >= limits_.handshakes_max) return false;
  negotiations_++;
  alive_++;
  return true;
}

void Registry::EndNegotiation() {
  {
    std::lock_guard lock(mutex_);
    negotiations_--;
  }
  Release();
}

void Registry::ClientConnected(std::shared_ptr<ClientRecord> record) {
  const ClientRecord& client = *record;
  {
    std::lock_guard lock(mutex_);
    records_.emplace(client.id, record);
  }
  events_->ClientConnected(client.id, client.export_name, client.address);
}

void Registry::ClientGone(const ClientRecord& record, const std::shared_ptr<Export>& left, const char* reason) {
  {
    std::lock_guard lock(mutex_);
    records_.erase(record.id);
  }
  events_->ClientDisconnected(record.id, record.export_name, reason);
  Leave(left);
}

bool Registry::IsRemoved(const Export& asked) const {
  std::lock_guard lock(mutex_);
  return asked.removed;
}

ServedTarget Registry::TargetOf(const Export& asked) const {
  std::lock_guard lock(mutex_);
  return {asked.spec.target, asked.paused};
}

void Registry::OnEveryShard(std::function<void(Shard&)> work) {
  for (const auto& shard : shards_) {
    shard->loop().Post([self = shared_from_this(), &shard = *shard, work] { work(shard); });
  }
}

}  // namespace varve::nbd
