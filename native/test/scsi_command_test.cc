// Goal: answers of targets are read as the standards say, and never beyond their end; outcomes mean what they should.
// Method: answers written out byte by byte, cut at every length.
#include "io/scsi_command.h"

#include <gtest/gtest.h>

#include "io/iovec_window.h"
#include "io/iscsi_library.h"
#include "io/iscsi_login_error.h"
#include "io/range_locks.h"
#include "io/scsi_outcome.h"

namespace varve {
namespace {

using Answer = std::vector<uint8_t>;

TEST(ScsiCommand, ReadsCapacityAndThinness) {
  Answer answer(32, 0);
  answer[6] = 0x01;  // last block 0x1ff
  answer[7] = 0xff;
  answer[10] = 0x02;  // 512 bytes
  answer[14] = 0xc0;
  scsi::CapacityFacts facts = scsi::ParseCapacity(answer);
  EXPECT_EQ(facts.blocks, 0x200u);
  EXPECT_EQ(facts.block_bytes, 512u);
  EXPECT_TRUE(facts.thin && facts.unmapped_zero);
}

TEST(ScsiCommand, TakesWorldWideNamesOfTheUnitOnlyAndNoneThatIsCut) {
  Answer page{0, 0x83, 0, 0,
              2, 1, 0, 3, 'I', 'E', 'T',                      // a vendor's: not unique
              1, 0x13, 0, 2, 0xaa, 0xbb,                      // of the port
              1, 3, 0, 8, 0x60, 1, 2, 3, 4, 5, 6, 7,          // NAA
              1, 2, 0, 8, 0x10, 1, 2, 3, 4, 5, 6, 7};         // EUI-64
  page[3] = static_cast<uint8_t>(page.size() - 4);
  EXPECT_EQ(scsi::ParseDesignators(page), "1001020304050607+6001020304050607");
  page.pop_back();
  EXPECT_EQ(scsi::ParseDesignators(page), "6001020304050607");
  for (size_t bytes = 0; bytes < page.size(); ++bytes) {
    scsi::ParseDesignators(std::span(page).first(bytes));
    scsi::ParseLimits(std::span(page).first(bytes));
    scsi::ParseModeSense(std::span(page).first(bytes));
    scsi::ParseInquiry(std::span(page).first(bytes));
    scsi::ParseLuns(std::span(page).first(bytes));
  }
}

TEST(ScsiCommand, FindsTheCachingPageBehindBlockDescriptors) {
  Answer plain{23, 0, 0x80, 0, 8, 18, 4};
  EXPECT_TRUE(scsi::ParseModeSense(plain).write_cache);
  EXPECT_TRUE(scsi::ParseModeSense(plain).write_protected);
  Answer described{31, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 18, 4};
  EXPECT_TRUE(scsi::ParseModeSense(described).write_cache);
  described[14] = 0;
  EXPECT_FALSE(scsi::ParseModeSense(described).write_cache);
}

TEST(ScsiOutcome, TellsWhatToDoWithEachEnd) {
  auto verdict = [](int status, int key, int ascq) {
    ScsiResult result;
    result.status = status;
    result.sense_key = key;
    result.ascq = ascq;
    return OutcomeOf(result);
  };
  EXPECT_EQ(verdict(libiscsi::kGood, 0, 0).verdict, ScsiVerdict::kDone);
  EXPECT_EQ(verdict(libiscsi::kBusy, 0, 0).verdict, ScsiVerdict::kLater);
  EXPECT_EQ(verdict(libiscsi::kTaskSetFull, 0, 0).verdict, ScsiVerdict::kLater);
  EXPECT_EQ(verdict(libiscsi::kCheckCondition, 2, 0x0401).verdict, ScsiVerdict::kLater);
  EXPECT_EQ(verdict(libiscsi::kCheckCondition, 6, 0x2900).verdict, ScsiVerdict::kReset);
  EXPECT_EQ(verdict(libiscsi::kCheckCondition, 6, 0x2a09).verdict, ScsiVerdict::kAgain);
  EXPECT_EQ(verdict(libiscsi::kCheckCondition, 7, 0x2700).status.error(), EROFS);
  EXPECT_EQ(verdict(libiscsi::kCheckCondition, 7, 0x2707).status.error(), ENOSPC);
  EXPECT_EQ(verdict(libiscsi::kCheckCondition, 5, 0x2500).status.error(), ENXIO);
  EXPECT_EQ(verdict(libiscsi::kCheckCondition, 3, 0x1100).status.error(), EIO);
  EXPECT_TRUE(verdict(libiscsi::kCheckCondition, 5, 0x2000).unsupported);
  EXPECT_EQ(verdict(libiscsi::kReservationConflict, 0, 0).status.error(), EACCES);
}

TEST(LoginError, TellsTheReasonFromLibiscsisSentence) {
  EXPECT_EQ(LoginError("Failed to log in to target. Status: Authentication failure(513)").error(), EACCES);
  EXPECT_EQ(LoginError("Failed to log in to target. Status: Target not found(515)").error(), ENOENT);
  EXPECT_EQ(LoginError("Authentication failed. Invalid CHAP_R response from the target").error(), EACCES);
  EXPECT_EQ(LoginError("iscsi_service: socket error Connection refused(111) while connecting.").error(), ECONNREFUSED);
  EXPECT_EQ(LoginError("read from socket failed, errno:104").error(), ECONNRESET);
  EXPECT_EQ(LoginError("").error(), ENOTCONN);
}

TEST(RangeLocks, OverlappingOnesWaitInTheOrderOfAsking) {
  RangeLocks locks;
  RangeLocks::Lock first{.first = 0, .end = 4}, beside{.first = 4, .end = 6}, over{.first = 3, .end = 5},
      behind{.first = 0, .end = 1};
  std::vector<RangeLocks::Lock*> granted;
  auto grant = [&](RangeLocks::Lock* lock) { granted.push_back(lock); };
  EXPECT_TRUE(locks.Acquire(&first));
  EXPECT_TRUE(locks.Acquire(&beside));
  EXPECT_FALSE(locks.Acquire(&over));
  EXPECT_FALSE(locks.Acquire(&behind));
  locks.Release(&first, grant);
  EXPECT_EQ(granted, std::vector<RangeLocks::Lock*>{&behind});
  locks.Release(&beside, grant);
  EXPECT_EQ(granted.back(), &over);
  locks.Release(&over, grant);
  locks.Release(&behind, grant);
  EXPECT_EQ(granted.size(), 2u);
}

// Every cut of a transfer in pieces: whole blocks, nothing twice, nothing left out.
TEST(IovecWindow, CutsIntoWholeBlocksWithoutLoss) {
  std::vector<uint8_t> bytes(64);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  for (size_t piece = 1; piece <= 64; ++piece) {
    for (uint64_t limit : {8u, 20u, 64u, 100u}) {
      IovecWindow window;
      for (size_t at = 0; at < bytes.size(); at += piece) window.Add(&bytes[at], std::min(piece, bytes.size() - at));
      std::vector<uint8_t> seen;
      while (uint64_t part = window.Next(limit, 8)) {
        EXPECT_EQ(part % 8, 0u);
        EXPECT_LE(part, limit);
        for (int i = 0; i < window.part_count(); ++i) {
          auto* data = static_cast<uint8_t*>(window.part()[i].iov_base);
          seen.insert(seen.end(), data, data + window.part()[i].iov_len);
        }
      }
      EXPECT_TRUE(window.done());
      EXPECT_EQ(seen, bytes) << piece << " " << limit;
    }
  }
}

}  // namespace
}  // namespace varve
