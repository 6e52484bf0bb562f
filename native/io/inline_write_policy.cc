#include "io/inline_write_policy.h"

namespace varve {

bool InlineWritePolicy::MayWriteInline(int fd, uint64_t bytes, Clock::time_point now) {
  if (bytes > kInlineBytesMax) return false;
  if (slow_.empty()) return true;
  std::erase_if(slow_, [now](const SlowFile& file) { return file.until <= now; });
  for (const SlowFile& file : slow_) {
    if (file.fd == fd) return false;
  }
  return true;
}

void InlineWritePolicy::Stalled(int fd, Clock::time_point now) {
  slow_.push_back({fd, now + kAvoidance});
}

}  // namespace varve
