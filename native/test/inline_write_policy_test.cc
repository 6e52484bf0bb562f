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

// Whether writes stay away for so long behind a stall that ends at `at`, and not longer.
void ExpectAvoidedFor(InlineWritePolicy& policy, milliseconds stall, InlineWritePolicy::Clock::time_point at, milliseconds avoided) {
  policy.Stalled(3, at - stall, at);
  EXPECT_FALSE(policy.MayWriteInline(3, 4096, at));
  EXPECT_FALSE(policy.MayWriteInline(3, 4096, at + avoided - milliseconds(1)));
  EXPECT_TRUE(policy.MayWriteInline(3, 4096, at + avoided));
}

TEST(InlineWritePolicy, StalledWriteSendsItsFileTheOtherWayForTenTimesAsLongUpToASecond) {
  for (auto [stall, avoided] : {std::pair{2, 20}, {30, 300}, {100, 1000}, {5000, 1000}}) {
    InlineWritePolicy policy;
    ExpectAvoidedFor(policy, milliseconds(stall), kStart, milliseconds(avoided));
  }
}

TEST(InlineWritePolicy, FileThatStallsAgainAtOnceIsAvoidedTwiceAsLongUpToASecond) {
  InlineWritePolicy policy;
  InlineWritePolicy::Clock::time_point at = kStart;
  for (int avoided : {20, 40, 80, 160, 320, 640, 1000, 1000}) {
    ExpectAvoidedFor(policy, milliseconds(2), at, milliseconds(avoided));
    at += milliseconds(avoided);
  }
}

TEST(InlineWritePolicy, FileThatDoesWellForAsLongAsItWasAvoidedIsForgiven) {
  InlineWritePolicy policy;
  ExpectAvoidedFor(policy, milliseconds(2), kStart, milliseconds(20));
  EXPECT_TRUE(policy.MayWriteInline(3, 4096, kStart + milliseconds(40)));
  ExpectAvoidedFor(policy, milliseconds(2), kStart + milliseconds(41), milliseconds(20));
}

TEST(InlineWritePolicy, EachFileHasItsOwnTime) {
  InlineWritePolicy policy;
  policy.Stalled(3, kStart - milliseconds(2), kStart);
  policy.Stalled(4, kStart + milliseconds(8), kStart + milliseconds(10));
  EXPECT_TRUE(policy.MayWriteInline(5, 4096, kStart));
  EXPECT_TRUE(policy.MayWriteInline(3, 4096, kStart + milliseconds(25)));
  EXPECT_FALSE(policy.MayWriteInline(4, 4096, kStart + milliseconds(25)));
}

}  // namespace
}  // namespace varve
