// Goal: whatever is loaded, changed, evicted and answered late, a known region says what was last written to it.
// Method: random steps against a map of slots. The control plane lags behind the changes by as much as the steps have it, and keeps
//   old answers to give them late. Replay one case: SEED=7.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

#include "volume/page_table.h"

namespace varve {
namespace {

using Presence = PageTable::Presence;
using Map = std::map<SlotIndex, uint64_t>;

constexpr uint64_t kRegions = 2100;  // three directories, the last one in part

struct Answer {
  uint64_t region;
  uint64_t empty_through;
  uint64_t sequence;
  std::vector<uint64_t> states;
};

class PageTableTest : public ::testing::TestWithParam<bool> {
 protected:
  PageTableTest() : table_(GetParam()) {
    if (GetParam()) return;
    // What an earlier life has left.
    for (int i = 0; i < 40; i++) truth_[SlotOf(RandomRegion())] = random_() | 1;
    told_map_ = truth_;
  }

  static uint64_t Seed() {
    const char* text = std::getenv("SEED");
    return text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  }
  // Few regions, so that steps meet, on both sides of directories' ends.
  uint64_t RandomRegion() {
    static constexpr uint64_t kPlaces[] = {0, 1, 2, 5, 1022, 1023, 1024, 1025, 2047, 2048, 2099};
    return kPlaces[random_() % std::size(kPlaces)];
  }
  SlotIndex SlotOf(uint64_t region) { return region * kSlotsPerRegion + random_() % kSlotsPerRegion; }

  // What the control plane knows of a region now.
  Answer Resolve(uint64_t region) {
    Answer answer = {region, region, told_.sequence, std::vector<uint64_t>(kSlotsPerRegion)};
    auto at = told_map_.lower_bound(region * kSlotsPerRegion);
    for (; at != told_map_.end() && at->first < (region + 1) * kSlotsPerRegion; ++at) {
      answer.states[at->first % kSlotsPerRegion] = at->second;
    }
    const uint64_t next = at == told_map_.end() ? kRegions : at->first / kSlotsPerRegion;
    answer.empty_through = std::max(region, next - 1);
    return answer;
  }
  void Install(const Answer& a) {
    RegionAnswer answer;
    answer.own = a.states.data();
    answer.empty_through = a.empty_through;
    answer.sequence = a.sequence;
    table_.Install(a.region, answer);
  }

  void Change() {
    const uint64_t at = RandomRegion();
    Region* region = nullptr;
    const Presence presence = table_.Find(at, &region);
    if (presence == Presence::kUnknown) return;
    if (presence == Presence::kEmpty) region = table_.Materialize(at);
    const SlotIndex slot = SlotOf(at);
    const uint64_t state = random_() % 4 == 0 ? 0 : random_() | 1;
    table_.Set(region, slot, SlotState{state}, 0, ++serial_);
    truth_[slot] = state;
    changes_.push_back({slot, state});
  }
  // The journal hands everything over as one record: what it tells of is on its way to the control plane.
  void Publish() {
    if (changes_.empty()) return;
    published_ = {serial_, published_.sequence + 1};
    on_the_way_.push_back({std::exchange(changes_, {}), published_});
  }
  void Deliver() {
    if (on_the_way_.empty()) return;
    for (auto [slot, state] : on_the_way_.front().first) told_map_[slot] = state;
    told_ = on_the_way_.front().second;
    on_the_way_.erase(on_the_way_.begin());
  }

  void ExpectTruth(uint64_t at) {
    Region* region = nullptr;
    const Presence presence = table_.Find(at, &region);
    if (presence == Presence::kUnknown) return;
    const SlotIndex first = at * kSlotsPerRegion;
    auto known = truth_.lower_bound(first);
    for (; known != truth_.end() && known->first < first + kSlotsPerRegion; ++known) {
      const uint64_t state = presence == Presence::kEmpty ? 0 : PageTable::View(*region, known->first).own.bits;
      ASSERT_EQ(state, known->second) << "slot " << known->first << " of region " << at;
    }
  }

  const uint64_t seed_ = Seed();
  std::mt19937_64 random_{seed_};
  PageTable table_;
  Map truth_;
  uint64_t serial_ = 0;
  std::vector<std::pair<SlotIndex, uint64_t>> changes_;
  HandedOver published_;
  std::vector<std::pair<std::vector<std::pair<SlotIndex, uint64_t>>, HandedOver>> on_the_way_;
  Map told_map_;
  HandedOver told_;
};

INSTANTIATE_TEST_SUITE_P(Begins, PageTableTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "empty" : "unknown"; });

TEST_P(PageTableTest, KnownRegionsTellTheTruthHoweverLateAnswersCome) {
  SCOPED_TRACE("SEED=" + std::to_string(seed_));
  std::vector<Answer> late;
  int evictions = 0;
  for (int step = 0; step < 20000; step++) {
    switch (random_() % 8) {
      case 0:
      case 1: Change(); break;
      case 2: Publish(); break;
      case 3: Deliver(); break;
      case 4: late.push_back(Resolve(RandomRegion())); break;
      case 5:
        if (late.empty()) break;
        Install(late[random_() % late.size()]);
        if (late.size() > 8) late.erase(late.begin());
        break;
      case 6: {
        const uint64_t before = table_.bytes();
        table_.Evict(random_() % (before + 1), published_);
        evictions += table_.bytes() < before;
        break;
      }
      case 7: {
        // An answer to a question asked now comes behind everything published: it is always taken.
        while (!on_the_way_.empty()) Deliver();
        const uint64_t region = RandomRegion();
        Install(Resolve(region));
        Region* present = nullptr;
        ASSERT_NE(table_.Find(region, &present), Presence::kUnknown);
        break;
      }
    }
    ASSERT_NO_FATAL_FAILURE(ExpectTruth(RandomRegion())) << "step " << step;
  }
  EXPECT_GT(evictions, 100);
}

TEST_P(PageTableTest, SkipEmptyFindsTheFirstRegionThatIsNotKnownToBeEmpty) {
  SCOPED_TRACE("SEED=" + std::to_string(seed_));
  for (int step = 0; step < 60; step++) {
    Install(Resolve(RandomRegion()));
    const uint64_t from = RandomRegion();
    uint64_t expected = from;
    Region* region = nullptr;
    while (expected < kRegions && table_.Find(expected, &region) == Presence::kEmpty) expected++;
    ASSERT_EQ(table_.SkipEmpty(from, kRegions), expected);
  }
}

TEST_P(PageTableTest, PinnedAndUnpublishedRegionsStay) {
  Install(Resolve(5));
  Region* region = nullptr;
  if (table_.Find(5, &region) == Presence::kEmpty) region = table_.Materialize(5);
  ASSERT_NE(region, nullptr);
  table_.Set(region, 5 * kSlotsPerRegion, SlotState{1}, 0, 9);
  for (int i = 0; i < 4; i++) table_.Evict(0, {8, 1});
  ASSERT_EQ(table_.Find(5, &region), Presence::kPresent) << "its change was not handed over";
  region->pins = 1;
  for (int i = 0; i < 4; i++) table_.Evict(0, {9, 2});
  ASSERT_EQ(table_.Find(5, &region), Presence::kPresent) << "a request is between its look-up and its change";
  region->pins = 0;
  for (int i = 0; i < 4; i++) table_.Evict(0, {9, 2});
  EXPECT_EQ(table_.Find(5, &region), Presence::kUnknown);
}

}  // namespace
}  // namespace varve
