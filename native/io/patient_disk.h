// PatientDisk: any disk, whose faults are waited out.
//
//              an operation fails, or none is answered
//   online ─────────────────────────────────────────▶ suspended ──patience is over──▶ failed
//     ▲              nothing is held any more            │                              │
//     ├──────────────────────────────────────────────────┘                              │
//     └──────────────── a probe is answered, and nothing failed meanwhile ──────────────┘
//
//   suspended: what fails is held and submitted again, at growing intervals and whenever something else was answered; what
//              succeeds is answered, so that a disk that is only full goes on reading.
//   failed:    what was held gets its error. A disk that cannot be reached refuses at once; any other is asked, once.
//              Syncs are asked for always: to refuse one without asking would be to call data lost.
//
// Guarantees:
//   - Each operation is with the disk below, or held, or ended: never two of them, so that nothing that was performed
//     is performed again.
//   - A failed sync is passed on and final (disk.h), writes fail from then on; but one that a disk which keeps what is not synced
//     (Disk::keeps_unsynced) could not be asked for is held for as long as it takes: no patience ends it, only Surrender().
//   - An operation that the disk below never answers stays with it: it cannot be taken back. The state shows it.
// Cost while all is well: one object from a pool and two counters per operation, no lock.
// Thread: any loop's; Surrender, SetPatience, condition: any. Made by Create(), destroyed on any thread while `home` runs.
// Elsewhere: which errors may pass (disk_faults.h).
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <vector>

#include "base/steady_clock.h"
#include "io/wrapped_disk.h"

namespace varve {

enum class DiskState : uint8_t { kOnline, kSuspended, kFailed };

struct DiskCondition {
  DiskState state = DiskState::kOnline;
  int error = 0;          // errno of the newest failure; ETIMEDOUT when nothing is answered. 0 when online
  const char* what = "";  // which step failed, a literal
  std::chrono::milliseconds failing{0};        // for so long
  std::chrono::milliseconds patience_left{0};  // while suspended
  uint64_t held = 0;                           // operations
};

struct PatientPolicy {
  std::chrono::milliseconds patience{60'000};  // 0: everything is passed on as it is
  // Short at first, because most faults are; a second at most, because a guest waits.
  std::chrono::milliseconds retry_min{50};
  std::chrono::milliseconds retry_max{1'000};
  // How often silence, patience and a failed disk are looked at.
  std::chrono::milliseconds look{1'000};
  // Longer than a busy spinning disk takes, shorter than a guest's own time-out of 30 s.
  std::chrono::milliseconds silence_max{10'000};
  // A failed disk is believed when nothing failed for so long: reads of a full disk do work.
  std::chrono::milliseconds calm{5'000};
};

class PatientDisk final : public WrappedDisk, public std::enable_shared_from_this<PatientDisk> {
 public:
  // Told of every change of state, in order, under the disk's lock: it must not call back, nor block.
  using Report = std::function<void(const DiskCondition&)>;

  // home: the loop of its timers and probes.
  static std::shared_ptr<PatientDisk> Create(std::shared_ptr<Disk> below, EventLoop* home, PatientPolicy policy,
                                             Report report);
  ~PatientDisk() override;

  void SetPatience(std::chrono::milliseconds patience);
  // Holds nothing any more, syncs included, until a patience is set: what is held gets its error now. For closing, and openings that fail.
  void Surrender();
  DiskCondition condition() const;
  // Lock-free.
  bool online() const { return !troubled_.load(std::memory_order_relaxed); }

 private:
  using Clock = SteadyClock;
  struct Attempt;
  struct Watch;
  struct Probe;

  PatientDisk(std::shared_ptr<Disk> below, EventLoop* home, PatientPolicy policy, Report report);

  void Begin(EventLoop& loop, const DiskRequest& request, Completion* done) override;
  void Submit(Attempt* attempt);
  void OnEnd(Attempt* attempt, Status status);
  void NoteSuccess(Attempt* attempt);
  // Whether the attempt is held; else it ends with its status.
  bool NoteFailure(Attempt* attempt, Status status);
  static void End(Attempt* attempt, Status status);

  // All by mutex_.
  bool Holds(const Attempt& attempt) const;
  void NoteFailedSync();
  void Suspend(Clock::time_point since);
  void GiveUp();
  void Resume();
  void EndHeld(bool syncs_too);
  void RetryHeld();
  void ScheduleRetry();
  DiskCondition ConditionNow() const;
  void Tell() { report_(ConditionNow()); }

  // Home loop.
  void KeepWatch();
  void Look();
  bool LookAtSilence(Clock::time_point now);
  void OnRetryDue();
  void OnProbed(Status status);

  EventLoop* const home_;
  const Report report_;
  PatientPolicy policy_;  // patience by mutex_

  std::atomic<uint64_t> in_flight_{0};
  std::atomic<uint64_t> answered_{0};
  std::atomic<bool> troubled_{false};   // not online
  std::atomic<bool> refusing_{false};   // failed, and not to be reached: nothing is submitted
  std::atomic<bool> watching_{false};

  mutable std::mutex mutex_;
  DiskState state_ = DiskState::kOnline;
  Status failure_;               // newest
  Clock::time_point since_{};    // failing
  Clock::time_point failed_at_{};  // newest failure
  Clock::time_point retried_at_{};
  std::vector<Attempt*> held_;
  uint64_t retrying_ = 0;        // held before, with the disk now
  std::chrono::milliseconds backoff_{0};
  bool retry_scheduled_ = false;
  bool sync_failed_ = false;
  bool surrendered_ = false;

  // Home loop only.
  uint64_t answered_before_ = 0;
  std::chrono::milliseconds silent_{0};
  bool probing_ = false;
  const std::shared_ptr<Watch> watch_;
};

}  // namespace varve
