// Contexts: what BLOCK_STATUS can tell of an export besides base:allocation, and what a client chose of it.
//
// A changed context says which ranges differ from some earlier state: flag 1 inside its runs, 0 elsewhere. It
// describes content that does not change, so it is never locked, and shared by all who read it.
// Elsewhere: how a client asks for them (handshake.h), how they go out (reply.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "volume/block_target.h"

namespace varve::nbd {

// Never empty.
struct ChangedRun {
  uint64_t offset;
  uint64_t length;
  uint64_t end() const { return offset + length; }
};
// Ascending; between two there is at least one byte.
using ChangedRuns = std::shared_ptr<const std::vector<ChangedRun>>;

struct ChangedContext {
  std::string name;  // "namespace:leaf"
  ChangedRuns runs;
};
// Of one export; null when it has none.
using ChangedContexts = std::shared_ptr<const std::vector<ChangedContext>>;

// Set of an export's contexts, by their bits (ContextBit).
using ContextBits = uint32_t;
// base:allocation and these fit into ContextBits, and into a filter of a few bytes.
inline constexpr size_t kChangedContextsMax = 31;
inline constexpr uint32_t kExtentChanged = 1;

// Ids on the wire: base:allocation has kBaseAllocationId, changed contexts follow in their order.
constexpr ContextBits ContextBit(uint32_t id) { return ContextBits{1} << (id - 1); }
inline constexpr ContextBits kBaseAllocationBit = 1;

// Contexts that a client selected for an export.
struct Selection {
  ContextBits bits = 0;
  ChangedContexts of;  // what the bits beyond base:allocation mean
  bool empty() const { return bits == 0; }
  // The runs of a selected context; null for base:allocation.
  const std::vector<ChangedRun>* RunsOf(uint32_t id) const;
};

// What a query of LIST_META_CONTEXT and SET_META_CONTEXT means: a name, or (when listing) "namespace:" and the like
// for all names that begin so.
bool AsksFor(std::string_view query, std::string_view name, bool listing);

// Errors: EINVAL too many, a name that is no context's name or is there twice, runs out of order.
Status CheckContexts(std::span<const ChangedContext> contexts);

// Describes [offset, offset + length) by `runs`: neighbours differ, at least one extent, at most extents_max, so that
// they may cover less than asked, never more. length, extents_max: not 0.
std::vector<Extent> DescribeChanges(std::span<const ChangedRun> runs, uint64_t offset, uint64_t length,
                                    size_t extents_max);

}  // namespace varve::nbd
