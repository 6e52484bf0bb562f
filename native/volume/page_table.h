// PageTable: the resolved map of one open volume, in memory.
//
//   root ─▶ directory (1,024 regions) ─▶ region (64 leaves) ─▶ leaf (64 slots of 8 bytes)
//                                           └▶ under: what lies below the head, and zeroes that hide it
//
// A region is unknown, known to be empty, or present; it is loaded, pinned and evicted as a whole. A fully mapped
// TiB of 64 KiB clusters takes 134 MiB, whether the head owns it or inherits it.
//
// Invariants:
//   - A present region holds every change of its slots: it is evicted only when unpinned
//     and when all its changes were handed to the control plane, which answers the next load.
//   - An answer resolved before the control plane had heard of those changes is not installed, however late it comes.
//   - A region of an older generation is turned before anybody sees it: what the head owned then is below now.
//   - Slots beyond what was ever written are in no leaf.
// Thread: under the volume's mutex.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "volume/slot_view.h"

namespace varve {

struct Leaf {
  std::array<SlotState, kSlotsPerLeaf> slots{};
};

// What a region has besides the head's own states; most regions of most volumes have none.
struct Under {
  struct Zeros {
    std::array<SlotMask, kSlotsPerLeaf> masks{};
  };
  std::array<std::unique_ptr<Leaf>, kLeavesPerRegion> below{};
  std::array<std::unique_ptr<Zeros>, kLeavesPerRegion> zeros{};
  std::unordered_map<SlotIndex, SplitSources> splits;
};

struct Region {
  std::array<std::unique_ptr<Leaf>, kLeavesPerRegion> leaves{};
  std::unique_ptr<Under> under;
  uint64_t index = 0;
  uint64_t generation = 0;
  uint32_t pins = 0;         // requests between their look-up and their map change, and locks
  bool referenced = false;   // used since the clock hand passed
  uint64_t last_serial = 0;  // newest change, see Journal::Append
};

// What the control plane was told so far: the last change and the last record.
struct HandedOver {
  uint64_t serial = 0;
  uint64_t sequence = 0;
};

// One region as the control plane knows it; the pointers are lent for the call, null where there is nothing.
struct RegionAnswer {
  const uint64_t* own = nullptr;     // kSlotsPerRegion states of the head
  const uint16_t* zeros = nullptr;   // kSlotsPerRegion zero masks of the head
  const uint64_t* below = nullptr;   // kSlotsPerRegion states, resolved
  struct Split {
    uint32_t slot_in_region;
    SplitSources sources;
  };
  std::vector<Split> splits;
  uint64_t empty_through = 0;  // regions (the region, empty_through] hold nothing
  uint64_t sequence = 0;       // of the newest record that the answer reflects
};

class PageTable {
 public:
  // empty: every region is known to hold nothing.
  explicit PageTable(bool empty) : all_empty_(empty) {}

  enum class Presence { kUnknown, kEmpty, kPresent };
  Presence Find(uint64_t region, Region** out);

  // The slot of a present region.
  static SlotView View(const Region& region, SlotIndex slot) {
    const Leaf* leaf = region.leaves[LeafIndex(slot)].get();
    SlotView view;
    if (leaf != nullptr) view.own = leaf->slots[slot % kSlotsPerLeaf];
    if (region.under != nullptr) AddUnder(*region.under, slot, &view);
    return view;
  }
  // Whether anything was ever said of the 64 slots around this one.
  static bool HasLeaf(const Region& region, SlotIndex slot) {
    const size_t i = LeafIndex(slot);
    if (region.leaves[i] != nullptr) return true;
    return region.under != nullptr && (region.under->below[i] != nullptr || region.under->zeros[i] != nullptr);
  }

  // Makes a known-empty region present, so that it can be changed.
  Region* Materialize(uint64_t region);
  // The head's new state of a slot.
  void Set(Region* region, SlotIndex slot, SlotState state, SlotMask zero, uint64_t serial);

  // Installs an unknown region as the control plane knows it; regions up to empty_through become known-empty. A region
  // that is already known is left alone, and so is one whose changes may be newer than the record the answer reflects:
  // it has to be asked for (again).
  void Install(uint64_t region, const RegionAnswer& answer);

  // What the head owned is inherited from now on: it has an empty one above it. Takes the same time at any size.
  void TurnAll() { generation_++; }
  // Everything is unknown. Nothing may be pinned.
  void Forget();
  // Where the slot resolves to `from` below the head it is at `to` now.
  void Repoint(Region* region, SlotIndex slot, Address from, Address to);
  // The layers below changed under what the head claims of the slot: it may hide something where it hid nothing before, so that it
  // has to own zeroes when it is trimmed.
  void HideBelow(Region* region, SlotIndex slot);
  // The head has no parent any more: what it claims of the slot hides nothing.
  void ForgetBelow(Region* region, SlotIndex slot);

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

  static size_t LeafIndex(SlotIndex slot) { return slot / kSlotsPerLeaf % kLeavesPerRegion; }
  static void AddUnder(const Under& under, SlotIndex slot, SlotView* view);
  static uint64_t BytesOf(const Region& region);

  Root& RootOf(uint64_t directory);
  Directory* Ensure(uint64_t directory);
  void MarkEmpty(uint64_t first, uint64_t last, uint64_t sequence);
  uint64_t EvictedAt(uint64_t region) const;
  bool RootEmpty(uint64_t directory) const;

  void Turn(Region* region);
  void TurnLeaf(Region* region, size_t leaf);
  Under* EnsureUnder(Region* region);
  Leaf* EnsureLeaf(std::unique_ptr<Leaf>* leaf);
  void SetZero(Region* region, SlotIndex slot, SlotMask zero);
  // What the slot resolves to below the head from now on.
  void SetBelow(Region* region, SlotIndex slot, const SplitSources& sources);

  bool all_empty_;
  uint64_t generation_ = 0;
  std::vector<Root> roots_;
  std::vector<Region*> clock_;  // every present region
  size_t hand_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace varve
