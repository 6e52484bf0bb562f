// CopyEffort: how hard what the control plane reads and copies by itself goes at the disks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace varve {

struct CopyEffort {
  uint64_t piece_bytes;
  size_t lanes;
  bool writes_back;  // each piece at once, so that no guest's flush finds them all together

  // gentle: guests are there (Pool::SetGentleCopies).
  static constexpr CopyEffort Of(bool gentle) {
    // What a guest's request may find in its way is a few requests of its own size.
    if (gentle) return {64 * 1024, 1, true};
    // Large enough not to be copied by the loop itself (inline_write_policy.h), and so many that disks read while they write.
    return {1024 * 1024, 4, false};
  }
};

}  // namespace varve
