// Lease: until when the disks of a pool are certainly ours.
//
//   held ⇄ run out      Renew() holds it again; who waits goes on
//     └───┴→ ended      final: who waits fails, and so does everybody after
//
// The control plane renews it after each heartbeat that a disk took; nobody but the clock has to act for it to run out, so a
// busy control plane or a process that was stopped cannot miss the moment.
// Invariant: Holds() answers by a clock read inside the call, never by what a timer said before.
// Thread: any.
// Elsewhere: the operations that wait (leased_disk.h), heartbeats (src/pool/lease.ts).
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/boot_clock.h"
#include "io/event_loop.h"

namespace varve {

// Who waits for a lease, embedded in its operation. `fn` runs on `loop`.
struct LeaseWait {
  using Fn = void (*)(LeaseWait* self);
  explicit LeaseWait(Fn on_change) : fn(on_change) {}
  const Fn fn;
  EventLoop* loop = nullptr;
};

class Lease {
 public:
  enum class End : uint8_t {
    kNone,
    kFailed,  // our own failure: what is there may still be read
    kFenced,  // the disks are another's: what lies on them may be another volume's
  };

  // until_ns: of CLOCK_BOOTTIME.
  explicit Lease(uint64_t until_ns) : until_ns_(until_ns) {}

  bool Holds() const { return HoldsAt(BootNanoseconds()); }
  bool HoldsAt(uint64_t now_ns) const { return now_ns < until_ns_.load(std::memory_order_relaxed); }
  End ended() const { return ended_.load(std::memory_order_relaxed); }

  // A later moment than before counts; an earlier one, of a slower disk's heartbeat, changes nothing.
  void Renew(uint64_t until_ns);
  // Fenced outweighs failed; else once is enough.
  void Finish(End end);
  // Runs wait->fn once the lease was renewed or has ended. False: it holds or has ended already, look again.
  bool Wait(LeaseWait* wait);

 private:
  void Wake();

  std::atomic<uint64_t> until_ns_;
  std::atomic<End> ended_{End::kNone};
  std::mutex mutex_;
  std::vector<LeaseWait*> waiters_;  // by mutex_
};

}  // namespace varve
