// Goal: a long write reaches the page cache in pieces, behind those that came before it, or not at all when it comes to its turn too late.
// Method: FinishWrite and LargeWrites alone, on memory files; the program's own pwritev tells what was asked of the kernel.
#include "io/large_writes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/boot_clock.h"
#include "io/event_loop.h"
#include "io/unique_fd.h"

namespace {

struct Asked {
  uint64_t offset, bytes;
};
std::mutex mutex;
std::vector<Asked> asked;
std::atomic<int> piece_takes_ms{0};

ssize_t NoteAndWrite(int fd, const iovec* iov, int count, off_t offset) {
  uint64_t bytes = 0;
  for (int i = 0; i < count; ++i) bytes += iov[i].iov_len;
  {
    std::lock_guard lock(mutex);
    asked.push_back({static_cast<uint64_t>(offset), bytes});
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(piece_takes_ms));
  return syscall(SYS_pwritev, fd, iov, count, offset, 0);
}

}  // namespace

// Under whichever name the code was compiled to call it.
extern "C" ssize_t pwritev(int fd, const iovec* iov, int count, off_t offset) { return NoteAndWrite(fd, iov, count, offset); }
extern "C" ssize_t pwritev64(int fd, const iovec* iov, int count, off64_t offset) { return NoteAndWrite(fd, iov, count, offset); }

namespace varve {
namespace {

constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB;

UniqueFd MemoryFile() { return UniqueFd(memfd_create("large_writes_test", MFD_CLOEXEC)); }

std::vector<std::byte> Numbered(uint64_t bytes, unsigned seed) {
  std::vector<std::byte> data(bytes);
  for (uint64_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>((i * 2654435761u + seed) >> 13);
  return data;
}

std::vector<std::byte> ReadBack(int fd, uint64_t offset, uint64_t bytes) {
  std::vector<std::byte> data(bytes);
  EXPECT_EQ(pread(fd, data.data(), bytes, static_cast<off_t>(offset)), static_cast<ssize_t>(bytes));
  return data;
}

// Cuts `data` into pieces of memory of these lengths, the last one as long as it takes.
std::vector<iovec> Cut(std::vector<std::byte>& data, const std::vector<uint64_t>& lengths) {
  std::vector<iovec> iov;
  uint64_t at = 0;
  for (uint64_t length : lengths) {
    iov.push_back({data.data() + at, length});
    at += length;
  }
  iov.push_back({data.data() + at, data.size() - at});
  return iov;
}

void ExpectInPieces(uint64_t offset, std::vector<std::byte> data, const std::vector<uint64_t>& lengths, size_t pieces) {
  const UniqueFd file = MemoryFile();
  const std::vector<iovec> iov = Cut(data, lengths);
  FileTransfer transfer;
  transfer.Begin(file.get(), iov.data(), static_cast<int>(iov.size()), offset);
  asked.clear();
  ASSERT_TRUE(FinishWrite(&transfer, BootNanoseconds()).ok());
  EXPECT_EQ(ReadBack(file.get(), offset, data.size()), data);
  EXPECT_EQ(asked.size(), pieces);
  for (const Asked& piece : asked) {
    EXPECT_LE(piece.bytes, kWritePieceBytes) << " at " << piece.offset;
  }
}

TEST(FinishWrite, LongWritesEndAtMultiplesOfAPiece) {
  ExpectInPieces(0, Numbered(kMiB, 1), {}, 16);
  ExpectInPieces(4096, Numbered(kMiB, 2), {}, 17);
}

TEST(FinishWrite, WritesNoLongerThanAPieceAreOneCall) {
  ExpectInPieces(4096, Numbered(kWritePieceBytes, 3), {}, 1);
  ExpectInPieces(0, Numbered(kWritePieceBytes, 6), std::vector<uint64_t>(31, 2 * kKiB), 1);
}

TEST(FinishWrite, BuffersGoTogetherAsFarAsAPieceReaches) {
  ExpectInPieces(0, Numbered(128 * kKiB, 4), {1000}, 2);
  ExpectInPieces(0, Numbered(kMiB, 4), {100, 200 * kKiB, 1, 1, 65533, 3 * kKiB}, 16);
  ExpectInPieces(60 * kKiB, Numbered(128 * kKiB, 5), {kKiB, kKiB, kKiB, kKiB, kKiB}, 3);
  // 31 buffers of 1 KiB: 16 of them, 15 and a part of the last one, the rest of it.
  ExpectInPieces(0, Numbered(128 * kKiB, 7), std::vector<uint64_t>(31, kKiB), 3);
}

struct Ends : Completion {
  Ends() : Completion([](Completion* self, Status status) { static_cast<Ends*>(self)->statuses.push_back(status); }) {}
  std::vector<Status> statuses;
};

class LargeWritesTest : public testing::Test {
 protected:
  void Start(int fd, std::vector<std::byte>& data, uint64_t submitted_ns) {
    iovs_.push_back(std::make_unique<iovec>(iovec{data.data(), data.size()}));
    FileTransfer transfer;
    transfer.Begin(fd, iovs_.back().get(), 1, 0);
    writes_.Start(&transfer, submitted_ns, &ends_);
  }

  // Runs what was posted until so many writes have ended.
  void WaitFor(size_t count) {
    while (ends_.statuses.size() < count) {
      std::vector<Inbox::Work> posted;
      inbox_.Take(&posted);
      for (Inbox::Work& work : posted) work();
      std::this_thread::yield();
    }
  }

  Ends ends_;
  std::vector<std::unique_ptr<iovec>> iovs_;
  Inbox inbox_;
  LargeWrites writes_{helpers_, inbox_};
  HelperThreads helpers_;
};

TEST_F(LargeWritesTest, ThoseToOneFileEndInTheOrderInWhichTheyCame) {
  const UniqueFd file = MemoryFile();
  std::vector<std::vector<std::byte>> versions;
  for (unsigned i = 0; i < 4; ++i) versions.push_back(Numbered(256 * kKiB, i));
  piece_takes_ms = 10;
  for (auto& version : versions) Start(file.get(), version, BootNanoseconds());
  WaitFor(versions.size());
  piece_takes_ms = 0;
  for (const Status& status : ends_.statuses) EXPECT_TRUE(status.ok());
  EXPECT_EQ(ReadBack(file.get(), 0, 256 * kKiB), versions.back());
}

TEST_F(LargeWritesTest, WhatHasWaitedTooLongIsNotBegunAndNothingBehindIt) {
  const UniqueFd file = MemoryFile();
  std::vector<std::byte> first = Numbered(128 * kKiB, 7), late = Numbered(kMiB, 8), young = Numbered(kMiB, 9);
  piece_takes_ms = 50;
  Start(file.get(), first, BootNanoseconds());
  Start(file.get(), late, BootNanoseconds() - EventLoop::kEnterKernelMaxNs);
  Start(file.get(), young, BootNanoseconds());
  WaitFor(3);
  piece_takes_ms = 0;
  EXPECT_TRUE(ends_.statuses[0].ok());
  EXPECT_EQ(ends_.statuses[1].error(), ETIME);
  EXPECT_EQ(ends_.statuses[2].error(), ETIME);
  EXPECT_EQ(lseek(file.get(), 0, SEEK_END), static_cast<off_t>(128 * kKiB));
  Start(file.get(), young, BootNanoseconds());
  WaitFor(4);
  EXPECT_EQ(ReadBack(file.get(), 0, kMiB), young);
}

TEST_F(LargeWritesTest, PieceThatComesTooLateIsNotHandedOverAndTheNextAttemptIsOneCall) {
  const UniqueFd file = MemoryFile();
  std::vector<std::byte> data = Numbered(kMiB, 10);
  piece_takes_ms = 400;
  asked.clear();
  Start(file.get(), data, BootNanoseconds());
  WaitFor(1);
  EXPECT_EQ(ends_.statuses.back().error(), ETIME);
  EXPECT_LE(asked.size(), 3u);
  EXPECT_EQ(lseek(file.get(), 0, SEEK_END), static_cast<off_t>(asked.size() * kWritePieceBytes));
  asked.clear();
  Start(file.get(), data, BootNanoseconds());
  WaitFor(2);
  piece_takes_ms = 0;
  EXPECT_TRUE(ends_.statuses.back().ok());
  EXPECT_EQ(asked.size(), 1u);
  EXPECT_EQ(ReadBack(file.get(), 0, kMiB), data);
}

TEST_F(LargeWritesTest, FailuresAreTold) {
  const UniqueFd file(open("/dev/full", O_WRONLY | O_CLOEXEC));
  std::vector<std::byte> data = Numbered(kMiB, 8);
  Start(file.get(), data, BootNanoseconds());
  WaitFor(1);
  EXPECT_EQ(ends_.statuses.front().error(), ENOSPC);
}

}  // namespace
}  // namespace varve
