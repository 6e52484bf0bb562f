// ChangedContext: a context of block status that the control plane gives with an export: flag 1 inside its runs, 0 elsewhere.
//
// Immutable, shared by the export and its sessions; it describes content that does not change.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "volume/block_target.h"

namespace varve::nbd {

struct ChangedContext {
  struct Run {
    uint64_t offset;
    uint64_t length;
  };
  std::string name;
  std::vector<Run> runs;  // ascending, not touching each other
};

using ContextList = std::vector<std::shared_ptr<const ChangedContext>>;

// More would not fit the mask by which a request says which it wants; base:allocation is one more.
inline constexpr size_t kContextsMax = 16;

inline constexpr uint32_t kExtentChanged = 1;

// Extents from `offset` on, at least one, at most `extents_max`; they cover the range or less of it.
std::vector<Extent> ChangedExtents(const ChangedContext& context, uint64_t offset, uint64_t length, uint32_t extents_max);

}  // namespace varve::nbd
