// Goal: every granted cluster is handed out once, nobody waits while there is one, and the control plane is asked once per top-up.
// Method: random steps against a set of clusters. Replay one case: SEED=7.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

#include "volume/grants.h"

namespace varve {
namespace {

TEST(GrantsTest, ClustersAreHandedOutOnceHoweverTheyComeAndGo) {
  const char* text = std::getenv("SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  int asked = 0;
  Grants grants([&](uint64_t) { asked++; });
  std::set<uint64_t> free;
  std::vector<ClusterRun> taken;
  uint64_t next = 1;
  int waiting = 0;
  bool exhausted = false;
  for (int step = 0; step < 20000; step++) {
    const uint64_t pick = random() % 100;
    if (pick < 5) {
      std::vector<ClusterRun> runs;
      for (uint64_t n = random() % 4; n > 0; n--) {
        const uint64_t count = 1 + random() % 200;
        runs.push_back({0, next, count});
        for (uint64_t i = 0; i < count; i++) free.insert(next++);
      }
      grants.Add(runs);
      EXPECT_EQ(waiting, 0) << "an answer lets everyone try again";
      asked = 0;
      exhausted = false;
    } else if (pick < 8) {
      grants.SetExhausted();
      EXPECT_EQ(waiting, 0);
      exhausted = true;
    } else if (pick < 12) {
      if (random() % 4 != 0) continue;  // or there would seldom be anything
      uint64_t gone = 0;
      const uint64_t expected = free.size();
      for (const ClusterRun& run : grants.TakeBackOn(0)) {
        gone += run.count;
        for (uint64_t i = 0; i < run.count; i++) ASSERT_EQ(free.erase(run.first + i), 1u) << "not there";
      }
      ASSERT_EQ(gone, expected);
    } else if (pick < 24 && !taken.empty()) {
      const ClusterRun run = taken.back();
      taken.pop_back();
      for (uint64_t i = 0; i < run.count; i++) ASSERT_TRUE(free.insert(run.first + i).second);
      grants.Return(run);
      EXPECT_EQ(waiting, 0);
    } else {
      ClusterRun run;
      const uint64_t want = 1 + random() % 16;
      const GrantOutcome outcome = grants.Take(want, &run, [&] { waiting--; });
      ASSERT_EQ(outcome == GrantOutcome::kTaken, !free.empty());
      if (outcome == GrantOutcome::kTaken) {
        ASSERT_GE(run.count, 1u);
        ASSERT_LE(run.count, want);
        for (uint64_t i = 0; i < run.count; i++) ASSERT_EQ(free.erase(run.first + i), 1u) << "handed out twice";
        taken.push_back(run);
      } else {
        ASSERT_EQ(outcome == GrantOutcome::kNoSpace, exhausted);
        if (outcome == GrantOutcome::kWait) waiting++;
        EXPECT_EQ(asked, 1) << "who waits has asked";
      }
    }
    ASSERT_LE(asked, 1);
  }
}

}  // namespace
}  // namespace varve
