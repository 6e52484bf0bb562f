// RingWriter: puts the journal's steps on every replica of its ring, and knows which of them lag.
//
//   a step, on each replica by itself:   write ─▶ (fill what comes next: ring_ground.h) ─▶ sync ─▶ has it | failed
//
//   every replica has it ─▶ the step ends ok          each failed ─▶ it ends with an error
//   some have it, others failed or do not answer ─▶ their disks are reported, again and again, until each answers or is ended
//
// Guarantees:
//   - A step that ended ok is durable on every replica that was not ended, at least on one.
//   - One step at a time. What an ended replica has not answered keeps its bytes and is busy(): its ring is nobody else's until then.
// Ending a replica is the caller's business because its disk's label names it still: whoever opens the pool later must be told first
// not to believe that ring (docs/format.md section 2).
// Thread: the loop's.
// Elsewhere: what the bytes mean (record.h), rounds (journal.h), the labels (src/pool/lost-replicas.ts).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/status.h"
#include "io/event_loop.h"
#include "journal/disk_table.h"
#include "journal/ring_ground.h"

namespace varve {

struct JournalReplica {
  unsigned disk;
  uint64_t offset;
};

// Lacks a record that another replica has.
struct LaggingReplica {
  unsigned disk;
  Status failure;  // ok: it has not answered
};

// How long a replica may keep the others waiting. Longer than a busy spinning disk takes and than TCP needs to repeat what was
// lost; short, because every flush of the pool waits.
inline constexpr std::chrono::milliseconds kReplicaPatience{2'000};

class RingWriter {
 public:
  using OnLag = std::function<void(std::vector<LaggingReplica>)>;

  RingWriter(EventLoop* home, DiskTable* disks, OnLag on_lag);
  ~RingWriter();

  void Open(std::vector<JournalReplica> replicas, uint64_t ring_bytes);
  // Writes `bytes` from ring position `position` on; behind them, up to `free_until`, is nothing that is needed. `done` runs once, not
  // inside this call. No step is under way.
  void Write(uint64_t position, std::vector<uint8_t> bytes, uint64_t free_until, std::function<void(Status)> done);

  const std::vector<JournalReplica>& replicas() const { return replicas_; }
  // No step is under way; the ring on that disk is as those of the others.
  void Add(const JournalReplica& replica) { replicas_.push_back(replica); }
  // The disk, which need not have one, has no replica from now on; the step under way goes on without it. Another one remains. `ended`
  // runs, not inside this call, when nothing is on its way to that ring any more.
  void End(unsigned disk, std::function<void()> ended);
  // Nothing more is submitted, and nobody ends replicas any more: the step under way ends when everything on its way has ended.
  void GiveUp();

  // Whether something is on its way to a ring of that disk.
  bool busy(unsigned disk) const { return busy_.contains(disk); }
  // Counts something else that is on its way there.
  void Hold(unsigned disk) { busy_[disk]++; }
  void Release(unsigned disk);
  // Runs `idle`, once, when nothing is on its way to any disk; at once if that is so.
  void WhenIdle(std::function<void()> idle);

 private:
  struct Step;
  struct Part;
  struct LagTimer : Timer {
    explicit LagTimer(RingWriter* of) : Timer(&OnDue), writer(of) {}
    static void OnDue(Timer* self) { static_cast<LagTimer*>(self)->writer->OnLate(); }
    RingWriter* writer;
  };

  void OnPart(Part* part, Status status);
  void GoOn(Part* part);
  void Look();
  void LookSoon();
  void OnLate();
  void Report();
  void Finish(Status status);

  EventLoop* const home_;
  DiskTable* const disks_;
  const OnLag on_lag_;
  std::vector<JournalReplica> replicas_;
  uint64_t ring_bytes_ = 0;
  std::shared_ptr<Step> step_;  // under way
  std::map<unsigned, unsigned> busy_;  // disk → operations
  std::multimap<unsigned, std::function<void()>> ended_;  // disk → who waits until it is busy no more
  std::function<void()> idle_;
  bool given_up_ = false;
  RingGround ground_;
  LagTimer late_{this};
};

}  // namespace varve
