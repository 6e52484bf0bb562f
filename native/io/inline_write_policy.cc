#include "io/inline_write_policy.h"

#include <algorithm>

namespace varve {

bool InlineWritePolicy::MayWriteInline(int fd, uint64_t bytes, Clock::time_point now) {
  if (bytes > kInlineBytesMax) return false;
  if (slow_.empty()) return true;
  std::erase_if(slow_, [now](const SlowFile& file) { return file.IsForgiven(now); });
  const SlowFile* slow = Find(fd);
  return slow == nullptr || now >= slow->until;
}

void InlineWritePolicy::Stalled(int fd, Clock::time_point start, Clock::time_point now) {
  SlowFile* slow = Find(fd);
  if (slow == nullptr) slow = &slow_.emplace_back(SlowFile{fd, {}, now});
  const Clock::duration avoidance = std::max(2 * slow->avoidance, kAvoidedPerStall * (now - start));
  slow->avoidance = std::min<Clock::duration>(avoidance, kAvoidanceMax);
  slow->until = now + slow->avoidance;
}

InlineWritePolicy::SlowFile* InlineWritePolicy::Find(int fd) {
  const auto found = std::ranges::find(slow_, fd, &SlowFile::fd);
  return found == slow_.end() ? nullptr : &*found;
}

}  // namespace varve
