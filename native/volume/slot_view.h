// SlotView: where the sub-blocks of one slot are, as a volume sees them: its own, and through it what lies below.
//
//   own     the head's cluster and the sub-blocks valid in it: overwritten in place
//   zero    sub-blocks that the head owns as zeroes
//   below   what the layers under the head resolve to; shows where the head claims nothing
#pragma once

#include <array>

#include "base/units.h"

namespace varve {

// Where each sub-block of a slot lies below the head, when that is in several clusters; none = reads as zero.
using SplitSources = std::array<Address, kSubBlocksPerCluster>;

// Stands for the address of a slot that is split below: no disk has this number.
inline constexpr Address kSplitAddress = Address::Of(kNowhere, 0);

// Stands for whatever the head hides: below sub-blocks that it claims, and so never read.
inline constexpr Address kHiddenAddress = Address::Of(kNowhere, 1);

// Where sub-blocks lie that are known to be damaged: to read there is an error (Pool). Only ever below a head.
inline constexpr Address kDamagedAddress = Address::Of(kNowhere, 2);

struct SlotView {
  SlotState own;
  SlotMask zero = 0;
  SlotState below;  // kSplitAddress: see split
  const SplitSources* split = nullptr;

  SlotMask claimed() const { return own.mask() | zero; }
  // Sub-blocks whose bytes come from below.
  SlotMask inherited() const { return below.mask() & static_cast<SlotMask>(~claimed()); }
  // Neither a sub-block nor space of its own, and nothing below.
  bool empty() const { return own.empty() && zero == 0 && below.mask() == 0; }

  // The cluster that holds the sub-block; none when it reads as zero.
  Address Source(unsigned sub_block) const {
    const SlotMask bit = static_cast<SlotMask>(1u << sub_block);
    if (own.mask() & bit) return own.address();
    if ((inherited() & bit) == 0) return Address{};
    return split == nullptr ? below.address() : (*split)[sub_block];
  }
};

}  // namespace varve
