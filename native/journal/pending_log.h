// PendingLog: map changes that are acknowledged but not yet in the journal.
//
// A ring of deltas in a memory-mapped file of the state folder (docs/format.md
// section 7). Being page cache, it outlives a killed process; being bound to the
// boot id, it is ignored after a power cut, when the data it points to may be gone.
//
//   serial:  1 … durable | sealed … last        free = capacity - (last - durable) - reserved
//
// Invariants:
//   - Serials count up by one; an entry counts only when its serial field says so, and
//     that field is written after the rest (a kill in between leaves no half entry).
//   - Append() never fails: room is reserved before the work that leads to it starts.
// Thread: any; one mutex, held for a few stores.
// Elsewhere: when entries become journal records (journal.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/units.h"

namespace varve {

class PendingLog {
 public:
  PendingLog() = default;
  ~PendingLog();
  PendingLog(const PendingLog&) = delete;
  PendingLog& operator=(const PendingLog&) = delete;

  // Creates the file anew for this owner of the pool. path "": anonymous memory.
  Status Open(const std::string& path, const uint8_t pool_uuid[16], uint64_t epoch);

  // Promises room for `count` entries; false when there is none now.
  bool Reserve(uint32_t count);
  void Forfeit(uint32_t count);

  // Uses one reserved entry. A change of the same slot as the newest unsealed entry replaces
  // its state in place (the delta carries the whole state, so the later one says it all).
  // Returns the serial that carries the change.
  uint64_t Append(const Delta& delta);

  // Entries up to the returned serial are no longer changed in place.
  uint64_t Seal();
  // Copies entries (after, through].
  void Read(uint64_t after, uint64_t through, std::vector<Delta>* out) const;
  // Entries up to `serial` are in the journal: their room is free again.
  void SetDurable(uint64_t serial);
  // Entries up to `through` are in the journal, and so are those younger ones, whose room is not free before that of older ones is.
  void SetDurableApart(uint64_t through, std::span<const uint64_t> serials);
  // No later life of the process takes these entries up: a sync has failed, so the data they point to may be gone, and
  // the map would show what lay there before (rule 4). As after a power cut, what was not flushed is lost.
  void Invalidate();

  uint64_t last() const { return last_.load(std::memory_order_acquire); }
  uint64_t durable() const { return durable_.load(std::memory_order_acquire); }
  bool half_full() const { return last() - durable() > kCapacity / 2; }

 private:
  // 10 MiB of address space; about five seconds of 50,000 new clusters a second.
  static constexpr uint64_t kCapacity = 256 * 1024;
  struct Header;
  struct Entry;

  Entry* EntryOf(uint64_t serial) const;
  void StoreDurable(uint64_t serial);

  mutable std::mutex mutex_;
  Header* header_ = nullptr;
  Entry* entries_ = nullptr;
  uint64_t reserved_ = 0;
  uint64_t sealed_ = 0;
  std::atomic<uint64_t> last_{0};
  std::atomic<uint64_t> durable_{0};
};

}  // namespace varve
