// PageTable: the resolved map of one open volume, in memory.
//
//   root ─▶ directory (1,024 regions) ─▶ region (64 leaves) ─▶ leaf (64 slots of 8 bytes)
//
// A region is unknown, known to be empty, or present; it is loaded, pinned and evicted as a whole. A fully mapped
// TiB of 64 KiB clusters takes 134 MiB.
//
// Invariants:
//   - A present region holds every change of its slots: it is evicted only when unpinned
//     and when all its changes were handed to the control plane, which answers the next load.
//   - An answer resolved before the control plane had heard of those changes is not installed, however late it comes.
//   - Slots beyond what was ever written are in no leaf.
// Thread: under the volume's mutex.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/units.h"

namespace varve {

struct Leaf {
  std::array<SlotState, kSlotsPerLeaf> slots{};
};

struct Region {
  std::array<std::unique_ptr<Leaf>, kLeavesPerRegion> leaves{};
  uint64_t index = 0;
  uint32_t pins = 0;         // requests between their look-up and their map change
  bool referenced = false;   // used since the clock hand passed
  uint64_t last_serial = 0;  // newest change, see Journal::Append
};

// What the control plane was told so far: the last change and the last record.
struct HandedOver {
  uint64_t serial = 0;
  uint64_t sequence = 0;
};

class PageTable {
 public:
  // empty: every region is known to hold nothing.
  explicit PageTable(bool empty) : all_empty_(empty) {}

  enum class Presence { kUnknown, kEmpty, kPresent };
  Presence Find(uint64_t region, Region** out);

  // The state of a slot of a present region.
  static SlotState Get(const Region& region, SlotIndex slot) {
    const Leaf* leaf = region.leaves[slot / kSlotsPerLeaf % kLeavesPerRegion].get();
    return leaf == nullptr ? SlotState{} : leaf->slots[slot % kSlotsPerLeaf];
  }
  static const Leaf* LeafOf(const Region& region, SlotIndex slot) {
    return region.leaves[slot / kSlotsPerLeaf % kLeavesPerRegion].get();
  }

  // Makes a known-empty region present, so that it can be changed.
  Region* Materialize(uint64_t region);
  void Set(Region* region, SlotIndex slot, SlotState state, uint64_t serial);

  // Installs an unknown region: kSlotsPerRegion states as the control plane knows them. Regions (region,
  // empty_through] become known-empty. A region that is already known is left alone, and so is one whose changes
  // may be newer than the journal's record `sequence`, which the answer reflects: it has to be asked for (again).
  void Install(uint64_t region, const uint64_t* states, uint64_t empty_through, uint64_t sequence);

  // Frees regions that were not used lately until at most `bytes` are held, in a bounded number of steps.
  void Evict(uint64_t bytes, HandedOver told);

  uint64_t bytes() const { return bytes_; }

  // First region at or after `region` that is not known-empty; `end` if there is none before it.
  uint64_t SkipEmpty(uint64_t region, uint64_t end) const;

 private:
  static constexpr uint64_t kRegionsPerDirectory = 1024;
  struct Directory {
    enum class State : uint8_t { kUnknown, kEmpty, kPresent };
    std::array<State, kRegionsPerDirectory> states{};
    std::array<std::unique_ptr<Region>, kRegionsPerDirectory> regions{};
    std::array<uint64_t, kRegionsPerDirectory> evicted{};  // the record that an answer has to reflect
  };
  struct Root {
    bool empty = false;
    std::unique_ptr<Directory> directory;
  };

  Root& RootOf(uint64_t directory);
  Directory* Ensure(uint64_t directory);
  void MarkEmpty(uint64_t first, uint64_t last, uint64_t sequence);
  uint64_t EvictedAt(uint64_t region) const;
  bool RootEmpty(uint64_t directory) const;

  const bool all_empty_;
  std::vector<Root> roots_;
  std::vector<Region*> clock_;  // every present region
  size_t hand_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace varve
