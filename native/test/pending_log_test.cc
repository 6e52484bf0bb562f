// Goal: what was appended and is not durable can be read by the next life of the process, and room never runs out unpromised.
// Method: random steps against a list of changes; the file is read as format.md describes it, as after a kill. Replay
//   one case: SEED=7.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <string>

#include "journal/pending_log.h"

namespace varve {
namespace {

constexpr uint8_t kUuid[16] = {1, 2, 3};

class PendingLogTest : public ::testing::Test {
 protected:
  PendingLogTest() : path_(::testing::TempDir() + "varve-pending-" + std::to_string(getpid())) {}
  ~PendingLogTest() override { unlink(path_.c_str()); }

  static uint64_t WordAt(const std::string& bytes, size_t at) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    return word;
  }
  // The newest state of each slot among the entries that count.
  std::map<uint64_t, uint64_t> ReadAsAfterAKill() {
    std::ifstream file(path_, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    EXPECT_EQ(bytes.substr(0, 8), "VARVEPND");
    EXPECT_EQ(WordAt(bytes, 32), 5u) << "epoch";
    const uint64_t capacity = WordAt(bytes, 40);
    std::map<uint64_t, uint64_t> states;
    for (uint64_t serial = WordAt(bytes, 48) + 1;; serial++) {
      const size_t entry = 4096 + serial % capacity * 40;
      if (WordAt(bytes, entry) != serial) return states;
      states[WordAt(bytes, entry + 16)] = WordAt(bytes, entry + 24);
    }
  }

  const std::string path_;
  PendingLog log_;
};

TEST_F(PendingLogTest, KilledProcessLeavesEveryChangeThatIsNotDurable) {
  const char* text = std::getenv("SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  ASSERT_TRUE(log_.Open(path_, kUuid, 5).ok());
  std::map<uint64_t, uint64_t> newest;
  for (int round = 0; round < 12; round++) {
    for (int i = 0; i < 20000; i++) {
      const uint64_t slot = random() % 3 == 0 ? 4 : random() % 64;
      const Delta delta = {7, slot, random() | 1, random() % 8 == 0 ? uint64_t{1} << 16 : 0};
      ASSERT_TRUE(log_.Reserve(1));
      const uint64_t serial = log_.Append(delta);
      ASSERT_EQ(serial, log_.last());
      newest[slot] = delta.state;
      if (random() % 1000 == 0) log_.Seal();
    }
    for (auto [slot, state] : ReadAsAfterAKill()) ASSERT_EQ(state, newest[slot]) << "slot " << slot;
    const uint64_t through = log_.Seal();
    std::vector<Delta> deltas;
    log_.Read(log_.durable(), through, &deltas);
    ASSERT_EQ(deltas.size(), through - log_.durable());
    log_.SetDurable(through);
    ASSERT_TRUE(ReadAsAfterAKill().empty());
  }
  EXPECT_GT(log_.last(), 200'000u);
}

TEST_F(PendingLogTest, SealedEntriesAreNotChanged) {
  ASSERT_TRUE(log_.Open("", kUuid, 5).ok());
  ASSERT_TRUE(log_.Reserve(4));
  EXPECT_EQ(log_.Append({7, 1, 0, 1 << 16}), 1u);
  EXPECT_EQ(log_.Append({7, 1, 10, 0}), 1u) << "the later state says it all, the release stays";
  EXPECT_EQ(log_.Seal(), 1u);
  EXPECT_EQ(log_.Append({7, 1, 20, 0}), 2u);
  EXPECT_EQ(log_.Append({7, 1, 0, 2 << 16}), 3u) << "a release has its own entry";
  std::vector<Delta> deltas;
  log_.Read(0, 3, &deltas);
  EXPECT_EQ(deltas[0].state, 10u);
  EXPECT_EQ(deltas[0].released().cluster(), 1u);
  EXPECT_EQ(deltas[1].state, 20u);
}

TEST_F(PendingLogTest, ChangeOfTheZeroMaskHasItsOwnEntry) {
  ASSERT_TRUE(log_.Open("", kUuid, 5).ok());
  ASSERT_TRUE(log_.Reserve(3));
  EXPECT_EQ(log_.Append(Delta::Of(7, 1, SlotState{1 << 16 | 1}, 2, Address{})), 1u);
  EXPECT_EQ(log_.Append(Delta::Of(7, 1, SlotState{1 << 16 | 5}, 2, Address{})), 1u);
  EXPECT_EQ(log_.Append(Delta::Of(7, 1, SlotState{1 << 16 | 7}, 0, Address{})), 2u)
      << "two words do not change together: a kill between would leave a sub-block valid and zero";
}

TEST_F(PendingLogTest, RoomIsPromisedBeforeItIsUsedAndComesBack) {
  ASSERT_TRUE(log_.Open("", kUuid, 5).ok());
  uint32_t room = 0;
  while (log_.Reserve(1024)) room += 1024;
  EXPECT_FALSE(log_.Reserve(1024));
  log_.Forfeit(1024);
  EXPECT_TRUE(log_.Reserve(1024));
  for (uint32_t i = 0; i < room; i++) log_.Append({7, i, 1, 0});
  EXPECT_FALSE(log_.Reserve(1));
  log_.SetDurable(log_.Seal());
  EXPECT_TRUE(log_.Reserve(room));
}

}  // namespace
}  // namespace varve
