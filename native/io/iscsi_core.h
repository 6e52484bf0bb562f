// IscsiCore: what goes over the link to a LUN, and in which order.
//
//   Submit ─▶ room for a copy? ─▶ lock on the blocks ─▶ link up? ─▶ running ─▶ reported
//                  │ crowded           │ waits            │ held       │ session lost: held, and run again
//
// Guarantees:
//   - Everything is done on the home loop, so that a completed write is seen by every later read whatever loop asks.
//   - Operations whose session was lost run again on the next one. They end with an error only when no path works (kDown), one
//     after which the same may be submitted again.
//   - When the LUN has a volatile cache, copies of what was written stay until a SYNCHRONIZE CACHE that began later has succeeded;
//     they are written again on each new session before anything else. So a target may restart, and still no sync that
//     succeeds covers a write that is lost. A write waits when the copies take too much room; a sync makes some.
//   - A sync that the target refused is final: syncs and writes fail with EIO from then on (disk.h).
// Thread: the home loop, but for the making.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "io/iscsi_link.h"
#include "io/iscsi_operation.h"
#include "io/iscsi_restore.h"
#include "io/range_locks.h"
#include "io/unsynced_writes.h"

namespace varve {

using IscsiPathsObserver = std::function<void(const std::vector<IscsiPath>&)>;

class IscsiCore final : public std::enable_shared_from_this<IscsiCore>, private IscsiLinkOwner {
 public:
  struct Options {
    std::shared_ptr<const IscsiTarget> target;
    bool read_only = false;
    IscsiPathsObserver on_paths;  // on the home loop; may be null
  };

  IscsiCore(EventLoop& home, const libiscsi::Functions& library, Options options, IscsiLink::Opened opened);

  void Start() { link_.Start(); }
  // Nothing may be under way.
  void Close();

  // Takes the operation over.
  void Submit(IscsiOperation* operation);
  void Sync(EventLoop& origin, Completion* done);

  // ---- for operations

  EventLoop& home() { return home_; }
  const std::shared_ptr<IscsiSession>& session() const { return link_.session(); }
  std::chrono::milliseconds answer_limit() const { return options_.target->answer_limit; }
  uint32_t block_bytes() const { return lun_.capacity.block_bytes; }
  uint64_t size_bytes() const { return lun_.size_bytes(); }
  uint64_t transfer_bytes_max() const { return transfer_bytes_max_; }
  bool can_unmap() const { return can_unmap_; }
  uint32_t unmap_blocks_max() const { return unmap_blocks_max_; }
  bool has_write_same() const { return has_write_same_; }
  uint32_t write_same_blocks_max() const { return write_same_blocks_max_; }
  // WRITE SAME may give the space back: it reads as zero then.
  bool zeroes_unmap() const;
  // The LUN was seen with so many blocks, which may be used.
  void Measured(uint64_t blocks) { link_.Measured(blocks); }
  void CannotUnmap() { can_unmap_ = false; }
  void CannotWriteSame() { has_write_same_ = false; }

  // What is on the LUN now; offsets in bytes or blocks, whole blocks.
  void Wrote(uint64_t offset, const iovec* iov, int count);
  void Zeroed(uint64_t block, uint64_t blocks);
  void Discarded(uint64_t block, uint64_t blocks);

  void Finished(IscsiOperation* operation, Status status);
  // outcome: kLost, kReset or kBusy.
  void Interrupted(IscsiOperation* operation, const ScsiOutcome& outcome);

 private:
  // SYNCHRONIZE CACHE, one at a time; those who ask while one runs share the next.
  class CacheSync final : public IscsiOperation {
   public:
    explicit CacheSync(IscsiCore& core) : IscsiOperation(core, core.home_, nullptr) {}
    void Run() override;
    bool changes() const override { return false; }
    void Report(Status status) override { core().SyncEnded(status); }

   private:
    void Answered(const ScsiOutcome& outcome) override;
  };
  struct SyncWaiter {
    EventLoop* origin;
    Completion* done;
  };

  void Restore(std::shared_ptr<IscsiSession> session, std::function<void(Status)> done) override;
  void LinkUp() override;
  void LinkDown(Status why) override;
  void LinkDraining() override { TellDrained(); }
  void PathsChanged(const std::vector<IscsiPath>& paths) override;

  Status Refusal(const IscsiOperation& operation) const;
  void Lock(IscsiOperation* operation);
  void Ready(IscsiOperation* operation);
  void Hold(IscsiOperation* operation);
  void End(IscsiOperation* operation, Status status);
  void TellDrained();

  bool keeps_copies() const { return lun_.mode.write_cache; }
  bool NothingToSync() const;
  void StartSync();
  void SyncEnded(Status status);
  void AnswerSyncs(std::vector<SyncWaiter> waiters, Status status);
  void AdmitCrowded();

  EventLoop& home_;
  const Options options_;
  const IscsiLun lun_;
  const uint64_t transfer_bytes_max_;
  std::atomic<bool> can_unmap_;  // read on any loop
  bool has_write_same_ = true;  // until the target says otherwise
  const uint32_t unmap_blocks_max_, write_same_blocks_max_;

  IscsiLink link_;
  UnsyncedWrites unsynced_;
  RangeLocks locks_;
  std::deque<IscsiOperation*> held_;     // for a session
  std::deque<IscsiOperation*> crowded_;  // for room
  size_t running_ = 0;

  CacheSync cache_sync_{*this};
  bool syncing_ = false;
  bool sync_failed_ = false;
  bool refused_ = false;       // the running sync, by the target
  bool cache_unknown_ = true;  // another process may have left something in the LUN's cache
  uint64_t sync_mark_ = 0;
  std::vector<SyncWaiter> sync_waiting_, sync_in_flight_;
  std::unique_ptr<IscsiRestore> restore_;
};

}  // namespace varve
