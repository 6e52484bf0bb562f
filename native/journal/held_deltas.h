// HeldDeltas: sealed map changes that may not become records yet, because a disk is behind with its sync (rule 1).
//
//   a round's changes ──Pass()──▶ may be written now
//                        └──────▶ held ──Ready()──▶ may be written now ──Forget()──▶ gone, when they are
//
// Guarantees: changes of one slot leave in the order in which they came, so that one is held behind another of its slot. Those of different
// slots may overtake each other: each says its slot's whole state, and a cluster given up by one is nobody's until that is durable.
// Thread: the journal's home loop.
// Elsewhere: which disks are behind (data_syncs.h).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <unordered_set>
#include <vector>

#include "base/units.h"

namespace varve {

struct SerialDelta {
  uint64_t serial;
  Delta delta;
};

class HeldDeltas {
 public:
  // Whether what is on the disk since that round may be lost in a power cut.
  using Blocks = std::function<bool(unsigned disk, uint64_t round)>;

  // Changes that `round` sealed, with the serials from `first` on: those that may be written are returned, the rest is held.
  std::vector<SerialDelta> Pass(uint64_t first, std::span<const Delta> deltas, uint64_t round, const Blocks& blocks);
  // At most `count` of those held that may be written now; they stay until they are forgotten.
  std::vector<SerialDelta> Ready(size_t count, const Blocks& blocks) const;
  // They are durable. Ascending; those that are not held are passed over.
  void Forget(std::span<const uint64_t> serials);

  bool empty() const { return held_.empty(); }
  // The oldest. Not empty.
  uint64_t first_serial() const { return held_.front().serial; }

 private:
  struct Held : SerialDelta {
    uint64_t round;
  };
  struct SlotKey {
    LayerId layer;
    SlotIndex slot;
    bool operator==(const SlotKey&) const = default;
  };
  struct SlotHash {
    size_t operator()(const SlotKey& key) const { return std::hash<uint64_t>()(key.layer * 0x9e3779b97f4a7c15u ^ key.slot); }
  };
  using Slots = std::unordered_set<SlotKey, SlotHash>;

  static bool IsBlocked(const Delta& delta, uint64_t round, const Blocks& blocks, Slots* slots);

  std::deque<Held> held_;  // by serial
};

}  // namespace varve
