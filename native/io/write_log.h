// WriteLog: everything that changed a disk, in order, and what a power cut may leave of it.
//
//   moments  1     2     3        4       5     6          7      (process-wide: one
//            w1    w2    w1 ends  sync    w3    sync ends  ...     order for all disks)
//
// A cut at moment m: changes submitted after m never were. A change is durable when a sync that
// ended ok by m was submitted after the change had ended: w1 above, from 6
// on. All others are loose: kept, dropped or torn at sectors, in any order; one cut in four each leaves
//   - of each loose change, in any order, all, nothing or some sectors
//   - the first so many in their order, the last of them torn: this disk was behind, or ahead
//   - a single one, whole or torn
//   - all of them, in their order, but for a single one that is not there or torn
// Changes of the disk's head may be chosen by themselves, so that the same head is met with many kinds of the rest.
// Thread: any; a mutex inside.
// Elsewhere: the disk that feeds it (recording_disk.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "io/sparse_bytes.h"

namespace varve {

class WriteLog {
 public:
  using Moment = uint64_t;
  static Moment Now();  // the last moment taken by any log

  // Data of a change, or nothing for zeroes. Returns the change's place for EndChange.
  size_t BeginChange(uint64_t offset, uint64_t bytes, std::vector<std::byte> data);
  void EndChange(size_t place);
  Moment BeginSync();
  void EndSync(Moment begun);

  // How loose changes are chosen. seed 0: all are kept, in order; 1: all are dropped; any other: as its random numbers say.
  struct Choice {
    Choice(uint64_t all) : seed(all) {}
    uint64_t seed;
    uint64_t head_bytes = 0;  // changes that begin below are chosen by a seed of their own
    uint64_t head_seed = 0;
  };
  // The disk's bytes after a power cut at `cut`.
  SparseBytes Cut(Moment cut, Choice choice);

 private:
  struct Change {
    Moment submitted;
    Moment ended;  // 0 = in flight
    uint64_t offset;
    uint64_t bytes;
    std::vector<std::byte> data;  // empty = zeroes
    bool EndedBefore(Moment moment) const { return ended != 0 && ended < moment; }
  };
  // The state that is certain from `from` on.
  struct Base {
    Moment from;
    Moment synced;      // changes that ended before it are in `content`
    size_t first_loose; // no change before it in the log is loose
    SparseBytes content;
  };

  Base& BaseAt(Moment cut);
  std::vector<const Change*> LooseAt(const Base& base, Moment cut) const;
  static void Apply(const Change& change, SparseBytes* content);
  using Loose = std::vector<const Change*>;
  static void Choose(Loose loose, uint64_t seed, SparseBytes* content);
  static void Scatter(Loose loose, std::mt19937_64& random, SparseBytes* content);
  static void KeepFirst(const Loose& loose, std::mt19937_64& random, SparseBytes* content);
  static void KeepOne(const Loose& loose, std::mt19937_64& random, SparseBytes* content);
  static void LoseOne(const Loose& loose, std::mt19937_64& random, SparseBytes* content);
  static void Tear(const Change& change, std::mt19937_64& random, SparseBytes* content);
  static void ApplyRange(const Change& change, uint64_t start, uint64_t end, SparseBytes* content);

  std::mutex mutex_;
  std::vector<Change> changes_;  // by time of submission
  std::vector<Base> bases_;      // by time; made when a sync ends
};

}  // namespace varve
