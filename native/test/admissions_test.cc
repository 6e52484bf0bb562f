// Goal: a grace period ends when all that was inside at its begin has left, never before, and always.
// Method: three loops without threads, stepped in random order; requests enter and leave at random and each grace period is
//   compared with the set of requests that were inside. Replay one case: SEED=7.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>

#include "test/nbd_manual_loop.h"
#include "volume/admissions.h"

namespace varve {
namespace {

struct Inside {
  uint64_t id;
  size_t loop;
  unsigned parity;
};

TEST(AdmissionsTest, GracePeriodWaitsForExactlyThoseInside) {
  const char* text = std::getenv("SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  ManualLoop loops[3];
  for (size_t i = 0; i < 3; i++) loops[i].ordinal = i;
  Admissions admissions({&loops[0], &loops[1], &loops[2]}, &loops[0]);
  std::vector<Inside> inside;
  std::set<uint64_t> awaited;
  uint64_t next = 1;
  int graces = 0;
  auto leave = [&](size_t at) {
    admissions.Leave(loops[inside[at].loop], inside[at].parity);
    awaited.erase(inside[at].id);
    inside[at] = inside.back();
    inside.pop_back();
  };
  for (int step = 0; step < 200000; step++) {
    const uint64_t pick = random() % 100;
    if (pick < 40) {
      const size_t on = random() % 3;
      inside.push_back({next++, on, admissions.Enter(loops[on])});
    } else if (pick < 82 && !inside.empty()) {
      leave(random() % inside.size());
    } else if (pick < 90 && !admissions.busy()) {
      for (const Inside& request : inside) awaited.insert(request.id);
      admissions.AfterAll([&] {
        EXPECT_TRUE(awaited.empty()) << "ended before request " << *awaited.begin() << " had left";
        graces++;
      });
    } else {
      loops[random() % 3].RunAll();
    }
  }
  // Those who enter now are not waited for, however long they stay.
  if (!admissions.busy()) admissions.AfterAll([&] { graces++; });
  for (ManualLoop& loop : loops) loop.RunAll();
  const int before = graces;
  const unsigned stays = admissions.Enter(loops[1]);
  while (!inside.empty()) leave(inside.size() - 1);
  for (int turn = 0; turn < 2; turn++) {
    for (ManualLoop& loop : loops) loop.RunAll();
  }
  EXPECT_FALSE(admissions.busy());
  EXPECT_GE(graces, before);
  EXPECT_GT(graces, 100);
  admissions.Leave(loops[1], stays);
}

}  // namespace
}  // namespace varve
