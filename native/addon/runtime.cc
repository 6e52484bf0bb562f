#include "addon/runtime.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <utility>

namespace varve {

OpenPool::OpenPool(Handle handle, EventQueue* events, std::vector<EventLoop*> loops, EventLoop* home,
                   unsigned cluster_bytes)
    : handle_(handle), events_(events), pool_(std::move(loops), home, cluster_bytes, this) {}

void OpenPool::OnDurable(DurableRecord record) {
  events_->Push("durable", [handle = handle_, record = std::move(record)](Napi::Env env, Napi::Object event) {
    event.Set("pool", handle);
    event.Set("sequence", static_cast<double>(record.sequence));
    event.Set("head", static_cast<double>(record.head));
    event.Set("serial", static_cast<double>(record.serial));
    if (record.deltas.empty()) {
      event.Set("token", static_cast<double>(record.token));
      return;
    }
    const auto* bytes = reinterpret_cast<const uint8_t*>(record.deltas.data());
    event.Set("deltas", Napi::Buffer<uint8_t>::Copy(env, bytes, record.deltas.size() * sizeof(Delta)));
  });
}

void OpenPool::OnSafe(uint64_t sequence) {
  events_->Push("safe", [handle = handle_, sequence](Napi::Env, Napi::Object event) {
    event.Set("pool", handle);
    event.Set("sequence", static_cast<double>(sequence));
  });
}

void OpenPool::OnGrantLow(unsigned group, uint64_t clusters) {
  events_->Push("grant-low", [handle = handle_, group, clusters](Napi::Env, Napi::Object event) {
    event.Set("pool", handle);
    event.Set("group", group);
    event.Set("clusters", static_cast<double>(clusters));
  });
}

void OpenPool::OnWriterHeld() {
  events_->Push("writer-held", [handle = handle_](Napi::Env, Napi::Object event) { event.Set("pool", handle); });
}

void OpenPool::OnJournalFull() {
  events_->Push("journal-full", [handle = handle_](Napi::Env, Napi::Object event) { event.Set("pool", handle); });
}

void OpenPool::OnReplicasLag(std::vector<LaggingReplica> lagging) {
  events_->Push("replicas-lag", [handle = handle_, lagging = std::move(lagging)](Napi::Env env, Napi::Object event) {
    Napi::Array replicas = Napi::Array::New(env, lagging.size());
    for (uint32_t i = 0; i < lagging.size(); i++) {
      Napi::Object replica = Napi::Object::New(env);
      replica.Set("disk", lagging[i].disk);
      replica.Set("error", lagging[i].failure.error());
      replicas.Set(i, replica);
    }
    event.Set("pool", handle);
    event.Set("replicas", replicas);
  });
}

void OpenPool::OnDiskError(unsigned disk, Status status) {
  events_->Push("disk-error", [handle = handle_, disk, status](Napi::Env, Napi::Object event) {
    event.Set("pool", handle);
    event.Set("disk", disk);
    event.Set("error", status.error());
    event.Set("message", std::string(status.what()) + ": " + std::strerror(status.error()));
  });
}

void OpenPool::OnFailed(Status status) {
  events_->Push("pool-failed", [handle = handle_, status](Napi::Env, Napi::Object event) {
    event.Set("pool", handle);
    event.Set("error", status.error());
    event.Set("message", std::string(status.what()) + ": " + std::strerror(status.error()));
  });
}

OpenVolume::OpenVolume(Handle handle, EventQueue* events, std::shared_ptr<OpenPool> pool, const VolumeSpec& spec,
                       MapBudget* budget)
    : handle_(handle), events_(events), pool_(std::move(pool)), volume_(&pool_->pool(), spec, budget, this) {}

void OpenVolume::OnCowWanted(SlotIndex slot, SlotMask zero, uint64_t era) {
  events_->Push("cow-wanted", [handle = handle_, slot, zero, era](Napi::Env, Napi::Object event) {
    event.Set("volume", handle);
    event.Set("slot", static_cast<double>(slot));
    event.Set("zero", zero);
    event.Set("era", static_cast<double>(era));
  });
}

void OpenVolume::OnRegionWanted(uint64_t region) {
  events_->Push("region-wanted", [handle = handle_, region](Napi::Env, Napi::Object event) {
    event.Set("volume", handle);
    event.Set("region", static_cast<double>(region));
  });
}

Runtime& Runtime::Get() {
  // Never destroyed: a process that exits without Stop() leaves its loops to the kernel.
  static Runtime* runtime = new Runtime();
  return *runtime;
}

bool Runtime::Start(LoopBackend backend, unsigned loops, uint64_t buffer_bytes, uint64_t map_bytes, std::string* error) {
  map_budget_.bytes_max = map_bytes;
  // Which loop a pool lives on depends on its handle: a simulation is the same in a process that had others before.
  if (backend == LoopBackend::kSimulated) next_handle_ = 1;
  for (unsigned i = 0; i < loops; i++) {
    std::unique_ptr<EventLoop> loop = CreateEventLoop(backend, error);
    if (loop == nullptr) return false;
    loop->ordinal = i;
    if (backend == LoopBackend::kSimulated) simulated_loops_.push_back(static_cast<SimulatedLoop*>(loop.get()));
    loops_.push_back(std::move(loop));
  }
  for (auto& loop : loops_) loop->Start(("varve-loop-" + std::to_string(loop->ordinal)).c_str());
  nbd::ServerLimits limits;
  limits.buffer_bytes = buffer_bytes;
  server_ = std::make_unique<nbd::Server>(this->loops(), limits, this);
  return true;
}

void Runtime::Stop() {
  std::promise<void> closed;
  server_->Close([&closed] { closed.set_value(); });
  for (SimulatedLoop* loop = BusyLoop(); loop != nullptr; loop = BusyLoop()) loop->Turn();
  closed.get_future().wait();
  for (auto& loop : loops_) loop->Stop();
  server_.reset();
  simulated_loops_.clear();
  loops_.clear();
  events_.Close();
}

SimulatedLoop* Runtime::BusyLoop() const {
  const auto busy = std::find_if(simulated_loops_.begin(), simulated_loops_.end(),
                                 [](const SimulatedLoop* loop) { return loop->HasWork(); });
  return busy == simulated_loops_.end() ? nullptr : *busy;
}

std::vector<EventLoop*> Runtime::loops() const {
  std::vector<EventLoop*> loops;
  for (const auto& loop : loops_) loops.push_back(loop.get());
  return loops;
}

void Runtime::AddDisk(Handle handle, std::shared_ptr<Disk> disk) {
  auto leased = std::make_shared<LeasedDisk>(std::move(disk));
  leased_disks.Put(handle, leased);
  disks.Put(handle, std::move(leased));
}

void Runtime::RemoveDisk(Handle handle) {
  disks.Remove(handle);
  leased_disks.Remove(handle);
}

void Runtime::ClientConnected(nbd::ClientId client, std::string_view name, std::string_view address) {
  events_.Push("client-connected",
               [client, name = std::string(name), address = std::string(address)](Napi::Env, Napi::Object event) {
                 event.Set("client", static_cast<double>(client));
                 event.Set("export", name);
                 event.Set("address", address);
               });
}

void Runtime::ClientDisconnected(nbd::ClientId client, std::string_view name, std::string_view reason) {
  events_.Push("client-disconnected",
               [client, name = std::string(name), reason = std::string(reason)](Napi::Env, Napi::Object event) {
                 event.Set("client", static_cast<double>(client));
                 event.Set("export", name);
                 event.Set("reason", reason);
               });
}

}  // namespace varve
