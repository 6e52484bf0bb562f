#include "nbd/changed_context.h"

#include <algorithm>

namespace varve::nbd {

std::vector<Extent> ChangedExtents(const ChangedContext& context, uint64_t offset, uint64_t length,
                                   uint32_t extents_max) {
  using Run = ChangedContext::Run;
  std::vector<Extent> extents;
  const uint64_t end = offset + length;
  auto run = std::partition_point(context.runs.begin(), context.runs.end(),
                                  [offset](const Run& r) { return r.offset + r.length <= offset; });
  for (uint64_t at = offset; at < end && extents.size() < extents_max;) {
    const bool inside = run != context.runs.end() && run->offset <= at;
    const uint64_t next = run == context.runs.end() ? end : inside ? run->offset + run->length : run->offset;
    const uint64_t until = std::min(next, end);
    extents.push_back({until - at, inside ? kExtentChanged : 0});
    at = until;
    if (inside) ++run;
  }
  return extents;
}

}  // namespace varve::nbd
