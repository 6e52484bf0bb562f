// Units of storage as types, and the one place where they are converted.
//
//   slot state (64 bits, docs/format.md section 3)
//   | disk 8 | cluster 40 | mask 16 |
#pragma once

#include <cstdint>

namespace varve {

using LayerId = uint64_t;
using SlotIndex = uint64_t;  // cluster number inside a volume
using SlotMask = uint16_t;   // bit i: sub-block i is valid

inline constexpr unsigned kSubBlocksPerCluster = 16;
inline constexpr unsigned kSlotsPerLeaf = 64;
inline constexpr unsigned kLeavesPerRegion = 64;
inline constexpr unsigned kSlotsPerRegion = kSlotsPerLeaf * kLeavesPerRegion;
inline constexpr SlotMask kFullMask = 0xffff;
// Number of no disk: addresses on it stand for something (slot_view.h).
inline constexpr unsigned kNowhere = 255;

// A physical cluster: disk and cluster number, in the place they have in a slot state.
struct Address {
  uint64_t bits = 0;  // mask bits are zero
  static constexpr Address Of(unsigned disk, uint64_t cluster) {
    return Address{(static_cast<uint64_t>(disk) << 56) | (cluster << 16)};
  }
  constexpr unsigned disk() const { return static_cast<unsigned>(bits >> 56); }
  constexpr uint64_t cluster() const { return (bits >> 16) & ((uint64_t{1} << 40) - 1); }
  constexpr bool none() const { return bits == 0; }
  constexpr bool operator==(const Address&) const = default;
};

struct SlotState {
  uint64_t bits = 0;
  static constexpr SlotState Of(Address address, SlotMask mask) {
    return SlotState{address.bits | mask};
  }
  constexpr Address address() const { return Address{bits & ~uint64_t{kFullMask}}; }
  constexpr SlotMask mask() const { return static_cast<SlotMask>(bits); }
  constexpr bool empty() const { return bits == 0; }
  constexpr bool operator==(const SlotState&) const = default;
};

// One slot change of a head, as it stands in the journal (docs/format.md section 4). It says the slot's whole new state.
struct Delta {
  uint64_t layer;
  uint64_t slot;
  uint64_t state;
  uint64_t released_and_zero;  // the cluster given up (0 = none), and in its mask bits the sub-blocks owned as zeroes

  static constexpr Delta Of(LayerId layer, SlotIndex slot, SlotState state, SlotMask zero, Address released) {
    return Delta{layer, slot, state.bits, released.bits | zero};
  }
  constexpr Address released() const { return Address{released_and_zero & ~uint64_t{kFullMask}}; }
};
static_assert(sizeof(Delta) == 32);

}  // namespace varve
