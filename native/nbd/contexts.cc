#include "nbd/contexts.h"

#include <algorithm>
#include <cerrno>

#include "nbd/protocol.h"
#include "nbd/text.h"

namespace varve::nbd {
namespace {

bool IsContextName(std::string_view name) {
  return IsProtocolString(name) && name.find(':') != std::string_view::npos && !name.ends_with(':') &&
         !name.starts_with("base:");
}

bool InOrder(std::span<const ChangedRun> runs) {
  uint64_t free_from = 0;  // where the next run may begin
  for (const ChangedRun& run : runs) {
    if (run.length == 0 || run.offset < free_from || run.length >= UINT64_MAX - run.offset) return false;
    free_from = run.end() + 1;
  }
  return true;
}

}  // namespace

const std::vector<ChangedRun>* Selection::RunsOf(uint32_t id) const {
  return id == kBaseAllocationId ? nullptr : (*of)[id - kBaseAllocationId - 1].runs.get();
}

bool AsksFor(std::string_view query, std::string_view name, bool listing) {
  return query == name || (listing && query.ends_with(':') && name.starts_with(query));
}

Status CheckContexts(std::span<const ChangedContext> contexts) {
  if (contexts.size() > kChangedContextsMax) return Status(EINVAL, "an export has at most 31 contexts of changes");
  for (const ChangedContext& context : contexts) {
    if (!IsContextName(context.name)) return Status(EINVAL, "a context's name is namespace:leaf, of at most 4096 bytes");
    const auto same_name = [&](const ChangedContext& other) { return other.name == context.name; };
    if (std::count_if(contexts.begin(), contexts.end(), same_name) > 1) {
      return Status(EINVAL, "two contexts have the same name");
    }
    if (!context.runs || !InOrder(*context.runs)) {
      return Status(EINVAL, "runs of changes are ascending and do not touch");
    }
  }
  return Status::Ok();
}

std::vector<Extent> DescribeChanges(std::span<const ChangedRun> runs, uint64_t offset, uint64_t length,
                                    size_t extents_max) {
  std::vector<Extent> extents;
  const uint64_t end = offset + length;
  auto run = std::partition_point(runs.begin(), runs.end(), [&](const ChangedRun& r) { return r.end() <= offset; });
  for (uint64_t at = offset; at < end && extents.size() < extents_max;) {
    const bool changed = run != runs.end() && run->offset <= at;
    uint64_t until = end;
    if (changed) {
      until = std::min(end, run++->end());
    } else if (run != runs.end()) {
      until = std::min(end, run->offset);
    }
    extents.push_back({until - at, changed ? kExtentChanged : 0});
    at = until;
  }
  return extents;
}

}  // namespace varve::nbd
