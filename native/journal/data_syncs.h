// DataSyncs: the syncs of a pool's disks at the beginning of each round of the journal, and which disks are behind.
//
//   clean ──a round syncs it──▶ under way ──answered──▶ clean
//                                   │ not within kPatience         ▲
//                                   └──────────▶ behind ──answered─┘  (synced again first, if a later round wanted to)
//
// A round waits for a disk so long, then it goes on without it: a disk that hangs or is held (patient_disk.h) must not stop the flushes
// of volumes on other disks. Until the disk has answered, what was written to it is not durable.
//
// Guarantees:
//   - A round sees one state from the end of Start() to its own end: late answers count from the next Start() on.
//   - A disk has one sync under way at a time.
// Thread: the journal's home loop.
// Elsewhere: what waits for a disk that is behind (held_deltas.h, journal.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>

#include "io/event_loop.h"
#include "journal/disk_table.h"
#include "journal/flush_wait.h"

namespace varve {

class DataSyncs {
 public:
  // Longer than a healthy disk takes, a busy one that spins included; far shorter than a guest's own time-out.
  static constexpr std::chrono::milliseconds kPatience{1'000};

  // late: a disk that was behind has answered.
  DataSyncs(EventLoop* home, DiskTable* disks, std::function<void(Status)> late);

  // Syncs every disk written to. `done`, once: all have answered, or those that have not are behind. Not ok: the first error.
  void Start(uint64_t round, std::function<void(Status)> done);

  bool any_behind() const { return behind_ != 0; }
  bool IsBehind(unsigned disk) const;
  bool IsUnderWay(unsigned disk) const;
  // Whether what that round found written to the disk is not known to be durable.
  bool Blocks(unsigned disk, uint64_t round) const;
  // Whether all that the flush is about is durable, as far as data goes, in a round that began late enough for it.
  bool Covers(const FlushWait& wait) const;
  // Disks have syncs in hand.
  bool any_under_way() const { return under_way_ != 0; }

 private:
  static constexpr uint64_t kClean = std::numeric_limits<uint64_t>::max();

  enum class State : uint8_t { kIdle, kUnderWay, kAnswered };
  struct DiskSync : Completion {
    DiskSync(DataSyncs* owner, unsigned disk) : Completion(&OnIo), owner(owner), disk(disk) {}
    static void OnIo(Completion* self, Status status);
    DataSyncs* const owner;
    const unsigned disk;
    State state = State::kIdle;
    uint64_t round = 0;         // of the sync under way or answered
    uint64_t through = kClean;  // what was written up to this round is durable
    bool again = false;         // written to since
    bool awaited = false;       // by the round under way
  };
  struct Deadline : Timer {
    explicit Deadline(DataSyncs* owner) : Timer(&OnTimer), owner(owner) {}
    static void OnTimer(Timer* self) { static_cast<Deadline*>(self)->owner->Finish(); }
    DataSyncs* const owner;
  };

  void Submit(DiskSync* sync, uint64_t round);
  void OnAnswer(DiskSync* sync, Status status);
  // Answers count from now on.
  void Settle();
  void Finish();

  EventLoop* const home_;
  DiskTable* const disks_;
  const std::function<void(Status)> late_;
  std::map<unsigned, DiskSync> syncs_;  // of every disk that was ever synced
  unsigned awaited_ = 0;
  unsigned under_way_ = 0;
  unsigned behind_ = 0;
  Status status_;
  std::function<void(Status)> done_;
  Deadline deadline_{this};
};

}  // namespace varve
