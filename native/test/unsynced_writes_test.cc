// Goal: what was written and not synced can be written again, never an older write over a newer one.
// Method: a byte model beside it under random operations; then single rules.
#include "io/unsynced_writes.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>

namespace varve {
namespace {

constexpr uint64_t kBytes = 200;

// What each byte's copy must be: its content and when it was kept; none: no copy.
struct Kept {
  uint8_t value;
  uint64_t generation;
};
using Model = std::vector<std::optional<Kept>>;

// Writes every piece again onto unknown content.
std::vector<std::optional<uint8_t>> Replayed(const UnsyncedWrites& writes, uint64_t piece_max) {
  std::vector<std::optional<uint8_t>> content(kBytes);
  UnsyncedWrites::Piece piece;
  for (uint64_t at = 0; writes.Next(at, piece_max, &piece); at = piece.offset + piece.bytes) {
    EXPECT_GT(piece.bytes, 0u);
    for (uint64_t i = 0; i < piece.bytes; ++i) {
      EXPECT_FALSE(content[piece.offset + i].has_value());
      content[piece.offset + i] = piece.data ? static_cast<uint8_t>(piece.data[i]) : uint8_t{0};
    }
  }
  return content;
}

void ExpectLike(const Model& model, const UnsyncedWrites& writes, uint64_t piece_max) {
  std::vector<std::optional<uint8_t>> content = Replayed(writes, piece_max);
  for (uint64_t i = 0; i < kBytes; ++i) {
    ASSERT_EQ(content[i].has_value(), model[i].has_value()) << "byte " << i;
    if (!model[i]) continue;
    ASSERT_EQ(*content[i], model[i]->value) << "byte " << i;
  }
}

TEST(UnsyncedWrites, AgreesWithAModelOfEveryByte) {
  unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  UnsyncedWrites writes(1 << 20);
  Model model(kBytes);
  uint64_t generation = 0;
  std::vector<uint64_t> marks;
  for (int step = 0; step < 3000; ++step) {
    uint64_t offset = random() % kBytes, bytes = random() % (kBytes - offset);
    switch (random() % 6) {
      case 0:
        writes.KeepZeroes(offset, bytes);
        for (uint64_t i = 0; i < bytes; ++i) model[offset + i] = Kept{0, generation};
        break;
      case 1:
        writes.Forget(offset, bytes);
        for (uint64_t i = 0; i < bytes; ++i) model[offset + i].reset();
        break;
      case 2:
        marks.push_back(writes.Mark());
        generation = marks.back();
        break;
      case 3: {
        if (marks.empty()) break;
        uint64_t mark = marks[random() % marks.size()];
        writes.Synced(mark);
        for (auto& kept : model) if (kept && kept->generation < mark) kept.reset();
        break;
      }
      default: {
        std::vector<uint8_t> data(bytes);
        for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
        size_t cut = bytes ? random() % bytes : 0;
        iovec iov[] = {{data.data(), cut}, {data.data() + cut, bytes - cut}};
        writes.Keep(offset, iov, 2);
        for (uint64_t i = 0; i < bytes; ++i) model[offset + i] = Kept{data[i], generation};
      }
    }
    ExpectLike(model, writes, 1 + random() % kBytes);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(UnsyncedWrites, CountsItsCopiesAndIsFullAtItsBound) {
  UnsyncedWrites writes(1000);
  std::vector<uint8_t> data(600, 1);
  iovec piece{data.data(), data.size()};
  writes.Keep(0, &piece, 1);
  EXPECT_EQ(writes.bytes(), 600u);
  EXPECT_FALSE(writes.full());
  writes.Keep(300, &piece, 1);
  EXPECT_EQ(writes.bytes(), 900u);
  writes.KeepZeroes(5000, 100000);
  EXPECT_EQ(writes.bytes(), 900u);
  writes.Keep(2000, &piece, 1);
  EXPECT_TRUE(writes.full());
  writes.Synced(writes.Mark());
  EXPECT_EQ(writes.bytes(), 0u);
  EXPECT_TRUE(writes.empty());
}

TEST(UnsyncedWrites, ASyncCoversOnlyWhatWasKeptBeforeIt) {
  UnsyncedWrites writes(1000);
  std::vector<uint8_t> data(10, 7);
  iovec piece{data.data(), data.size()};
  writes.Keep(0, &piece, 1);
  uint64_t mark = writes.Mark();
  writes.Keep(5, &piece, 1);
  writes.Synced(mark);
  UnsyncedWrites::Piece left;
  ASSERT_TRUE(writes.Next(0, 1000, &left));
  EXPECT_EQ(left.offset, 5u);
  EXPECT_EQ(left.bytes, 10u);
  EXPECT_FALSE(writes.Next(15, 1000, &left));
}

}  // namespace
}  // namespace varve
