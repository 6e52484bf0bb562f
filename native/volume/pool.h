// Pool: what the volumes of one pool share in the data plane: disks, journal, grants, admissions.
//
// Guarantees: what the control plane is told (PoolObserver) comes in the order in which it became true; "safe" comes
// for a record only after every request admitted before the record was handed over has ended.
// Thread: construction and Open on any one thread; the rest is said at each function.
// Elsewhere: policy (src/pool), the page tables (volume.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "io/event_loop.h"
#include "journal/disk_table.h"
#include "journal/journal.h"
#include "volume/admissions.h"
#include "volume/grants.h"
#include "volume/latencies.h"

namespace varve {

// Called on any loop's thread; must not block.
class PoolObserver {
 public:
  virtual ~PoolObserver() = default;
  virtual void OnDurable(DurableRecord record) = 0;
  virtual void OnSafe(uint64_t sequence) = 0;
  virtual void OnGrantLow(unsigned group, uint64_t clusters) = 0;
  // A writer is held for want of space, and no other of its group is.
  virtual void OnWriterHeld() = 0;
  virtual void OnJournalFull() = 0;
  // See JournalObserver.
  virtual void OnReplicasLag(std::vector<LaggingReplica> lagging) = 0;
  virtual void OnDiskError(unsigned disk, Status status) = 0;
  virtual void OnFailed(Status status) = 0;
};

class Pool : private JournalObserver {
 public:
  // home: the loop of the journal. observer outlives the pool.
  Pool(std::vector<EventLoop*> loops, EventLoop* home, unsigned cluster_bytes, PoolObserver* observer);

  Status Open(const JournalSpec& spec) { return journal_.Open(spec); }
  // Any thread; before an address on the disk is granted or installed.
  void AddDisk(unsigned number, std::shared_ptr<Disk> disk) { disks_.Add(number, std::move(disk)); }
  // Nothing lies on the disk, nothing of it is granted, it carries no replica. `done` on the home loop, when nobody has it in hand any more.
  void RemoveDisk(unsigned number, std::function<void()> done);
  // Every volume is closed. `done` on the home loop, when all is durable and no grace period is under way. Once more for what came since.
  void Close(std::function<void()> done);

  Journal& journal() { return journal_; }
  // Free clusters come in groups, by where they lie: what a group means is the control plane's business.
  static constexpr unsigned kGrantGroups = 64;
  Grants& grants(unsigned group) { return grants_[group]; }
  // How many writers are held for want of space. Any thread.
  uint64_t HeldWriters();
  // Everything of one disk, from every group.
  std::vector<ClusterRun> TakeBackOn(unsigned disk);
  Admissions& admissions() { return admissions_; }
  Latencies& latencies() { return latencies_; }
  Disk& disk(unsigned number) { return *disks_.at(number); }
  // For who goes by a map that may have changed since: null when the disk has left. Any thread.
  std::shared_ptr<Disk> HoldDisk(unsigned number) { return disks_.Hold(number); }
  EventLoop* home() { return home_; }
  unsigned cluster_shift() const { return cluster_shift_; }
  bool failed() const { return journal_.failed(); }
  // The pool is another's now, and what lies under this map may be another volume's: reads are refused.
  bool fenced() const { return fenced_.load(std::memory_order_relaxed); }

  // Whether copies and hashing (copy_effort.h) that begin from now on are to leave the disks to guests as far as they can. Any thread.
  void SetGentleCopies(bool gentle) { gentle_copies_.store(gentle, std::memory_order_relaxed); }
  bool gentle_copies() const { return gentle_copies_.load(std::memory_order_relaxed); }

  // Stops as after a failed sync: writes and flushes get EIO from now on. Any thread.
  void Stop(Status status, bool fenced);

  // Runs `done` on the home loop once every request admitted before the call has ended. Any thread.
  void AfterAdmitted(std::function<void()> done);
  // Runs `retry` when the pending log may have room again. Any thread.
  void WaitForRoom(std::function<void()> retry);
  // Of damage everybody was told when it was found.
  void ReportDiskError(unsigned disk, Status status) {
    if (disk != kNowhere) observer_->OnDiskError(disk, status);
  }

 private:
  void OnDurable(DurableRecord record) override;
  void OnJournalFull() override { observer_->OnJournalFull(); }
  void OnReplicasLag(std::vector<LaggingReplica> lagging) override { observer_->OnReplicasLag(std::move(lagging)); }
  void OnJournalFailed(Status status) override;
  void OnRoundEnd() override;
  // Nobody waits for space in a pool that has failed.
  void RefuseHeld();
  void StartGrace();
  void MaybeClosed();

  EventLoop* const home_;
  PoolObserver* const observer_;
  const unsigned cluster_shift_;
  DiskTable disks_;
  std::deque<Grants> grants_;
  Latencies latencies_;
  Admissions admissions_;
  Journal journal_;
  std::atomic<bool> fenced_{false};
  std::atomic<bool> gentle_copies_{false};

  // Home loop only.
  uint64_t releasing_sequence_ = 0;  // newest record that may have released clusters
  uint64_t grace_sequence_ = 0;      // the grace period under way, or the last one, covers up to here
  std::vector<std::function<void()>> grace_waiters_;  // for the next grace period
  bool journal_closed_ = false;
  std::function<void()> closed_;

  std::mutex mutex_;  // room_waiters_
  std::vector<std::function<void()>> room_waiters_;
};

}  // namespace varve
