// Runtime: everything the process has open in the data plane, by handle.
//
// Thread: the tables are touched on JavaScript's thread only; what they point to has its own rules.
// Elsewhere: the verbs (disk_verbs.cc, pool_verbs.cc, volume_verbs.cc, export_verbs.cc, succession_verbs.cc).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "addon/event_queue.h"
#include "addon/handle_table.h"
#include "io/disk.h"
#include "io/event_loop.h"
#include "io/gated_disk.h"
#include "io/leased_disk.h"
#include "nbd/server.h"
#include "volume/pool.h"
#include "volume/volume.h"

namespace varve {

// A pool and the way its news reaches JavaScript.
class OpenPool : public PoolObserver {
 public:
  OpenPool(Handle handle, EventQueue* events, std::vector<EventLoop*> loops, EventLoop* home, unsigned cluster_bytes);
  Pool& pool() { return pool_; }

 private:
  void OnDurable(DurableRecord record) override;
  void OnSafe(uint64_t sequence) override;
  void OnGrantLow(unsigned group, uint64_t clusters) override;
  void OnWriterHeld() override;
  void OnJournalFull() override;
  void OnReplicasLag(std::vector<LaggingReplica> lagging) override;
  void OnDiskError(unsigned disk, Status status) override;
  void OnFailed(Status status) override;

  const Handle handle_;
  EventQueue* const events_;
  Pool pool_;
};

class OpenVolume : public VolumeObserver {
 public:
  OpenVolume(Handle handle, EventQueue* events, std::shared_ptr<OpenPool> pool, const VolumeSpec& spec, MapBudget* budget);
  Volume& volume() { return volume_; }
  Pool& pool() { return pool_->pool(); }

 private:
  void OnRegionWanted(uint64_t region) override;
  void OnCowWanted(SlotIndex slot, SlotMask zero, uint64_t era) override;

  const Handle handle_;
  EventQueue* const events_;
  const std::shared_ptr<OpenPool> pool_;
  Volume volume_;
};

class Runtime : public nbd::ServerEvents {
 public:
  static Runtime& Get();

  // Starts the loops. False with `error` when the backend cannot be had.
  bool Start(LoopBackend backend, unsigned loops, uint64_t buffer_bytes, uint64_t map_bytes, std::string* error);
  // Closes the server and stops the loops; waits for both.
  void Stop();
  bool started() const { return server_ != nullptr; }

  EventQueue& events() { return events_; }
  std::vector<EventLoop*> loops() const;
  // Empty unless the loops are simulated.
  const std::vector<SimulatedLoop*>& simulated_loops() const { return simulated_loops_; }
  // The loop for work of the control plane.
  EventLoop& control_loop() { return *loops_.back(); }
  nbd::Server& server() { return *server_; }
  MapBudget& map_budget() { return map_budget_; }
  Handle NextHandle() { return next_handle_++; }
  // Of gated disks; used by simulations only.
  Gate& gate() { return gate_; }

  // Enters an open disk into the tables below; it heeds a lease from then on.
  void AddDisk(Handle handle, std::shared_ptr<Disk> disk);
  // Forgets it; operations under way keep it open until they end.
  void RemoveDisk(Handle handle);
  // The disk as it was opened, for verbs that know its kind.
  std::shared_ptr<Disk> AsOpened(Handle handle) { return leased_disks.At(handle)->below(); }

  // As everybody uses them.
  HandleTable<Disk> disks{"disk"};
  // The same ones, for leases and labels.
  HandleTable<LeasedDisk> leased_disks{"disk"};
  HandleTable<Lease> leases{"lease"};
  HandleTable<OpenPool> pools{"pool"};
  HandleTable<OpenVolume> volumes{"volume"};

 private:
  // A simulated loop that has something to do, which nobody else turns; null: none.
  SimulatedLoop* BusyLoop() const;
  void ClientConnected(nbd::ClientId client, std::string_view name, std::string_view address) override;
  void ClientDisconnected(nbd::ClientId client, std::string_view name, std::string_view reason) override;

  EventQueue events_;
  Gate gate_;
  MapBudget map_budget_;
  std::vector<std::unique_ptr<EventLoop>> loops_;
  std::vector<SimulatedLoop*> simulated_loops_;
  std::unique_ptr<nbd::Server> server_;
  Handle next_handle_ = 1;
};

}  // namespace varve
