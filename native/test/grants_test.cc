// Goal: every granted cluster is handed out once, nobody waits while there is one, the control plane is asked once per top-up, and only
//   those who may be held wait once it has said that there is nothing.
// Method: random steps against a set of clusters. Replay one case: SEED=7.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

#include "volume/grants.h"

namespace varve {
namespace {

struct Seeker final : ClusterSeeker {
  explicit Seeker(int* waiting_in) : waiting(waiting_in) {}
  bool MayBeHeld() override { return may_be_held; }
  void Resume() override { (*waiting)--; }
  int* waiting;
  bool may_be_held = false;
};

TEST(GrantsTest, ClustersAreHandedOutOnceHoweverTheyComeAndGo) {
  const char* text = std::getenv("SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  int asked = 0;
  int told_held = 0;
  Grants grants([&](uint64_t) { asked++; }, [&] { told_held++; });
  std::set<uint64_t> free;
  std::vector<ClusterRun> taken;
  uint64_t next = 1;
  int waiting = 0;
  Seeker patient(&waiting), hasty(&waiting);
  patient.may_be_held = true;
  bool is_short = false;  // as the control plane said last
  Shortage shortage = Shortage::kHold;
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
      is_short = false;
    } else if (pick < 8) {
      shortage = random() % 2 ? Shortage::kHold : Shortage::kRefuse;
      is_short = true;
      grants.SetExhausted(shortage);
      EXPECT_EQ(waiting, 0) << "everyone looks again";
    } else if (pick < 9) {
      grants.Retry();
      EXPECT_EQ(waiting, 0);
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
      Seeker& seeker = random() % 2 ? patient : hasty;
      const bool first = waiting == 0;
      told_held = 0;
      const bool only_looks = random() % 4 == 0;
      const GrantOutcome outcome = only_looks ? grants.Look(&seeker) : grants.Take(want, &run, &seeker);
      if (only_looks) {
        ASSERT_EQ(outcome == GrantOutcome::kTaken, !free.empty() || !is_short);
        if (outcome == GrantOutcome::kTaken) continue;
      }
      ASSERT_EQ(outcome == GrantOutcome::kTaken, !free.empty());
      if (outcome == GrantOutcome::kTaken) {
        ASSERT_GE(run.count, 1u);
        ASSERT_LE(run.count, want);
        for (uint64_t i = 0; i < run.count; i++) ASSERT_EQ(free.erase(run.first + i), 1u) << "handed out twice";
        taken.push_back(run);
      } else {
        const bool waits = !is_short || (shortage == Shortage::kHold && seeker.may_be_held);
        ASSERT_EQ(outcome == GrantOutcome::kWait, waits);
        if (waits) waiting++;
        if (!only_looks) {
          EXPECT_EQ(asked, 1) << "who waits has asked";
        }
        EXPECT_EQ(told_held, waits && is_short && first ? 1 : 0) << "once for all who are held";
      }
    }
    ASSERT_LE(asked, 1);
    const bool holds = is_short && shortage == Shortage::kHold;
    ASSERT_EQ(grants.held(), holds ? static_cast<uint64_t>(waiting) : 0);
  }
}

}  // namespace
}  // namespace varve
