// Goal: small writes stay on the loop, except on a disk that has just stalled one.
// Method: the policy alone, on made-up times.
#include "io/inline_write_policy.h"

#include <gtest/gtest.h>

namespace varve {
namespace {

using std::chrono::milliseconds;

constexpr InlineWritePolicy::Clock::time_point kStart{std::chrono::hours(1)};

TEST(InlineWritePolicy, SmallWritesAreInlineLargeOnesNot) {
  InlineWritePolicy policy;
  EXPECT_TRUE(policy.MayWriteInline(3, 1, kStart));
  EXPECT_TRUE(policy.MayWriteInline(3, InlineWritePolicy::kInlineBytesMax, kStart));
  EXPECT_FALSE(policy.MayWriteInline(3, InlineWritePolicy::kInlineBytesMax + 1, kStart));
}

TEST(InlineWritePolicy, StalledWriteSendsItsFileTheOtherWayForASecond) {
  InlineWritePolicy policy;
  policy.Stalled(3, kStart);
  EXPECT_FALSE(policy.MayWriteInline(3, 4096, kStart));
  EXPECT_TRUE(policy.MayWriteInline(4, 4096, kStart));
  EXPECT_FALSE(policy.MayWriteInline(3, 4096, kStart + milliseconds(999)));
  EXPECT_TRUE(policy.MayWriteInline(3, 4096, kStart + milliseconds(1000)));
}

TEST(InlineWritePolicy, EachFileHasItsOwnTime) {
  InlineWritePolicy policy;
  policy.Stalled(3, kStart);
  policy.Stalled(4, kStart + milliseconds(500));
  EXPECT_TRUE(policy.MayWriteInline(3, 4096, kStart + milliseconds(1200)));
  EXPECT_FALSE(policy.MayWriteInline(4, 4096, kStart + milliseconds(1200)));
}

}  // namespace
}  // namespace varve
