// UnsyncedWrites: copies of what was written to a disk behind a network and is not known to be durable.
//
// A server that restarts forgets what it had only in memory, and goes on as if nothing had happened. So what was written since the
// last sync is kept here and written again to a server that may have forgotten it, before a sync may succeed.
//
//   Keep ─▶ kept (newest wins, byte by byte) ─▶ Mark ─▶ sync ─▶ Synced(mark): forgotten, but for what came after the mark
//
// Guarantees: for each byte the newest copy is the only one, so that writing all of them again, in any order, never brings an
// older write back. `bytes()` is what the copies take; who keeps asks `full()` first and syncs then.
// Thread: its owner's.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace varve {

class UnsyncedWrites {
 public:
  explicit UnsyncedWrites(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // The content is copied. Zeroes take no room.
  void Keep(uint64_t offset, const iovec* iov, int count);
  void KeepZeroes(uint64_t offset, uint64_t bytes);
  // The range's content does not matter any more.
  void Forget(uint64_t offset, uint64_t bytes);

  // Everything kept so far is older than the mark.
  uint64_t Mark() { return ++generation_; }
  // What was kept before the mark is durable.
  void Synced(uint64_t mark);

  bool empty() const { return runs_.empty(); }
  bool full() const { return bytes_ >= bytes_max_; }
  uint64_t bytes() const { return bytes_; }

  struct Piece {
    uint64_t offset;
    uint64_t bytes;
    const std::byte* data;  // null: zeroes. Lent until the next change
  };
  // The first piece at or behind `offset`, cut at `bytes_max`; false when there is none.
  bool Next(uint64_t offset, uint64_t bytes_max, Piece* piece) const;

 private:
  using Content = std::shared_ptr<std::vector<std::byte>>;
  struct Run {
    uint64_t bytes;
    Content content;   // null: zeroes. Shared by the parts of a run that was cut
    uint64_t start;    // of this run in the content
    uint64_t generation;
  };
  using Runs = std::map<uint64_t, Run>;  // by offset, disjoint

  void Put(uint64_t offset, uint64_t bytes, Content content);
  void CutAt(uint64_t offset);
  Runs::iterator Drop(Runs::iterator run);
  static uint64_t Cost(const Run& run) { return run.content ? run.bytes : 0; }

  const uint64_t bytes_max_;
  uint64_t bytes_ = 0;
  uint64_t generation_ = 0;
  Runs runs_;
};

}  // namespace varve
