// Goal: what an NBD server holds is read as it is, at any alignment, with its holes; a server that goes, comes back, changes or answers
//   wrongly never makes other bytes of it.
// Method: qemu-nbd on a qcow2 image, killed and started again; nbdkit with filters that fail, and with large blocks; a server that is played
//   by hand. The taking apart of replies alone: the fuzzer (client_fuzz.cc).
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "io/unique_fd.h"
#include "nbd/bytes.h"
#include "nbd/client_disk.h"
#include "nbd/reply_parser.h"
#include "nbd/unix_address.h"
#include "test/loop_fixture.h"
#include "test/spawn.h"

namespace varve::nbd {
namespace {

constexpr uint64_t kSizeBytes = 8 << 20;
constexpr uint64_t kDataBytes = 1 << 20;  // at the beginning, and once more from the middle on

struct Opening {
  Status status;
  std::shared_ptr<ClientDisk> disk;
};

Opening OpenClientDisk(EventLoop& home, const std::string& path) {
  std::promise<Opening> opened;
  ClientDisk::Open(home, path, "", [&](Status status, std::shared_ptr<ClientDisk> disk) {
    opened.set_value({status, std::move(disk)});
  });
  return opened.get_future().get();
}

bool IsLost(int error) { return error == ECONNREFUSED || error == ECONNRESET; }

class ClientDiskTest : public testing::TestWithParam<LoopBackend> {
 protected:
  void SetUp() override {
    folder_ = (std::filesystem::temp_directory_path() / "varve-client-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    std::mt19937 random(7);
    content.assign(kSizeBytes, 0);
    for (uint64_t i = 0; i < kDataBytes; ++i) {
      content[i] = static_cast<uint8_t>(random());
      content[kSizeBytes / 2 + i] = static_cast<uint8_t>(random());
    }
    std::ofstream(Path("raw"), std::ios::binary).write(reinterpret_cast<const char*>(content.data()), kSizeBytes);
    ASSERT_TRUE(RunQuietly({"qemu-img", "convert", "-f", "raw", "-O", "qcow2", Path("raw"), Path("qcow2")}));
  }
  void TearDown() override {
    disk.reset();
    for (int turn = 0; turn < 3; ++turn) RunOn(*loop, [] {});
    End();
    std::filesystem::remove_all(folder_);
  }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::string Socket() const { return Path("socket"); }

  void Serve(const std::vector<std::string>& words) { server_ = SpawnQuietly(words); }
  void ServeQcow2() { Serve({"qemu-nbd", "-r", "-t", "-e", "0", "-f", "qcow2", "-k", Socket(), Path("qcow2")}); }
  void ServeRaw(std::vector<std::string> filters) {
    std::vector<std::string> words{"nbdkit", "-f", "-r", "-U", Socket()};
    words.insert(words.end(), filters.begin(), filters.end());
    Serve(words);
  }
  void End() {
    if (server_ > 0) KillAndReap(std::exchange(server_, -1));
    unlink(Socket().c_str());
  }

  // Until the server is up.
  void Open() {
    Opening opening;
    auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    do opening = OpenClientDisk(*loop, Socket());
    while (opening.status.error() == ECONNREFUSED && std::chrono::steady_clock::now() < give_up);
    ASSERT_TRUE(opening.status.ok()) << opening.status.what() << ": " << strerror(opening.status.error());
    disk = opening.disk;
  }
  void ExpectContent(uint64_t offset, size_t bytes) {
    const Bytes read = Content(*other_loop, *disk, offset, bytes);
    EXPECT_TRUE(std::equal(read.begin(), read.end(), content.begin() + static_cast<ptrdiff_t>(offset))) << offset << " + " << bytes;
  }
  // Reads again for as long as the server is away.
  Status ReadWhenBack(Bytes* into) {
    Status status;
    auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    do status = ReadDisk(*loop, *disk, 0, into);
    while (IsLost(status.error()) && std::chrono::steady_clock::now() < give_up);
    return status;
  }

  RunningLoop loop{GetParam()};
  RunningLoop other_loop{GetParam()};
  Bytes content;
  std::shared_ptr<ClientDisk> disk;

 private:
  std::string folder_;
  pid_t server_ = -1;
};

TEST_P(ClientDiskTest, ReadsWhatAnImageHoldsAtAnyAlignment) {
  ServeQcow2();
  Open();
  EXPECT_EQ(disk->size_bytes(), kSizeBytes);
  EXPECT_EQ(MeasureDisk(*loop, *disk), kSizeBytes);
  struct { uint64_t offset; size_t bytes; } ranges[] = {
      {0, 4096}, {1, 1}, {511, 3}, {4095, 8193}, {kDataBytes - 70000, 300001}, {kSizeBytes - 5, 5}, {100, 0}, {0, kSizeBytes},
  };
  for (auto [offset, bytes] : ranges) ExpectContent(offset, bytes);
}

TEST_P(ClientDiskTest, ReadsIntoVectorsAndManyAtOnce) {
  ServeQcow2();
  Open();
  constexpr size_t kReads = 64;
  constexpr uint64_t kStep = 100'003;
  std::vector<Bytes> read(kReads, Bytes(40'000));
  std::vector<std::array<iovec, 2>> pieces(kReads);
  std::promise<void> end;
  std::atomic<size_t> left = kReads;
  CallCompletion done([&](Status status) {
    EXPECT_TRUE(status.ok());
    if (--left == 0) end.set_value();
  });
  other_loop->Post([&] {
    for (size_t i = 0; i < kReads; ++i) {
      pieces[i] = {iovec{read[i].data(), 12'345}, iovec{read[i].data() + 12'345, 27'655}};
      disk->Read(*other_loop, i * kStep, pieces[i].data(), 2, &done);
    }
  });
  end.get_future().wait();
  for (size_t i = 0; i < kReads; ++i) EXPECT_EQ(std::memcmp(read[i].data(), &content[i * kStep], read[i].size()), 0) << i;
}

TEST_P(ClientDiskTest, FindsDataAndNothingElse) {
  ServeQcow2();
  Open();
  std::vector<std::pair<uint64_t, uint64_t>> found;
  for (uint64_t at = 4096; at < kSizeBytes;) {
    DataSearch search{.offset = at, .bytes = kSizeBytes - at, .runs = {}};
    ASSERT_TRUE(Await(*other_loop, [&](Completion* done) { disk->FindData(*other_loop, &search, done); }).ok());
    for (const DataRun& run : search.runs) found.emplace_back(run.offset, run.bytes);
    ASSERT_GT(search.bytes, 0u);
    at += search.bytes;
  }
  const std::vector<std::pair<uint64_t, uint64_t>> expected{{4096, kDataBytes - 4096}, {kSizeBytes / 2, kDataBytes}};
  EXPECT_EQ(found, expected);
}

TEST_P(ClientDiskTest, IsOnlyRead) {
  ServeQcow2();
  Open();
  EXPECT_EQ(WriteDisk(*loop, *disk, 0, Bytes(4096, 1)).error(), EBADF);
  EXPECT_EQ(ZeroDisk(*loop, *disk, 0, 4096).error(), EBADF);
  EXPECT_EQ(DiscardDisk(*loop, *disk, 0, 4096).error(), EBADF);
  EXPECT_TRUE(SyncDisk(*loop, *disk).ok());
  ExpectContent(0, 8192);
}

TEST_P(ClientDiskTest, AServerThatWasKilledIsReadAgainWhenItIsBack) {
  ServeQcow2();
  Open();
  ExpectContent(0, 4096);
  End();
  Bytes read(kDataBytes);
  Status status = ReadDisk(*loop, *disk, 0, &read);
  EXPECT_TRUE(IsLost(status.error())) << strerror(status.error());
  ServeQcow2();
  ASSERT_TRUE(ReadWhenBack(&read).ok());
  EXPECT_EQ(std::memcmp(read.data(), content.data(), read.size()), 0);
}

TEST_P(ClientDiskTest, AServerThatComesBackWithAnotherSizeIsNotRead) {
  ServeQcow2();
  Open();
  End();
  std::filesystem::resize_file(Path("raw"), kSizeBytes / 2);
  ServeRaw({"file", Path("raw")});
  Bytes read(4096);
  EXPECT_EQ(ReadWhenBack(&read).error(), ESTALE);
}

TEST_P(ClientDiskTest, AReadThatTheServerCannotAnswerFailsAlone) {
  ServeRaw({"--filter=error", "file", Path("raw"), "error-pread=EIO", "error-pread-rate=100%", "error-file=" + Path("broken")});
  Open();
  ExpectContent(0, 4096);
  std::ofstream(Path("broken")).put('x');
  Bytes read(4096);
  EXPECT_EQ(ReadDisk(*loop, *disk, 0, &read).error(), EIO);
  std::filesystem::remove(Path("broken"));
  ExpectContent(0, kDataBytes);
}

TEST_P(ClientDiskTest, AServerOfLargeBlocksIsAskedForWholeOnes) {
  ServeRaw({"--filter=blocksize-policy", "file", Path("raw"), "blocksize-minimum=64K", "blocksize-preferred=64K",
            "blocksize-maximum=1M", "blocksize-error-policy=error"});
  Open();
  ExpectContent(65'000, 1'000);
  ExpectContent(kSizeBytes / 2 - 1, 3'000'000);
}

TEST_P(ClientDiskTest, OfAKnownSizeItIsOpenBeforeItsServerIsThere) {
  disk = ClientDisk::OpenLater(*loop, Socket(), "", kSizeBytes);
  EXPECT_EQ(disk->size_bytes(), kSizeBytes);
  Bytes read(4096);
  EXPECT_EQ(ReadDisk(*other_loop, *disk, 0, &read).error(), ECONNREFUSED);
  ServeQcow2();
  ASSERT_TRUE(ReadWhenBack(&read).ok());
  ExpectContent(0, kDataBytes + 5);
}

TEST_P(ClientDiskTest, OfAKnownSizeItReadsNoServerOfAnother) {
  disk = ClientDisk::OpenLater(*loop, Socket(), "", 2 * kSizeBytes);
  ServeQcow2();
  Bytes read(4096);
  EXPECT_EQ(ReadWhenBack(&read).error(), ESTALE);
}

TEST_P(ClientDiskTest, WhatIsNotThereSaysSo) {
  EXPECT_EQ(OpenClientDisk(*loop, Path("none")).status.error(), ECONNREFUSED);
}

// A server that answers what it likes.
class PlayedServer {
 public:
  explicit PlayedServer(const std::string& path) : listener_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_un address = UnixAddress(path);
    EXPECT_EQ(bind(listener_.get(), Generic(address), sizeof address), 0);
    EXPECT_EQ(listen(listener_.get(), 1), 0);
  }
  void Accept() { client_ = UniqueFd(accept(listener_.get(), nullptr, nullptr)); }
  void Say(const std::string& bytes) { EXPECT_EQ(write(client_.get(), bytes.data(), bytes.size()), ssize_t(bytes.size())); }
  void Hear(size_t bytes) {
    std::string heard(bytes, 0);
    EXPECT_EQ(recv(client_.get(), heard.data(), bytes, MSG_WAITALL), ssize_t(bytes));
  }

 private:
  UniqueFd listener_, client_;
};

void AppendAnswer(std::string* out, Option option, OptionReply reply, const std::string& data = "") {
  AppendBig<uint64_t>(out, kOptionReplyMagic);
  AppendBig<uint32_t>(out, static_cast<uint32_t>(option));
  AppendBig<uint32_t>(out, static_cast<uint32_t>(reply));
  AppendBig<uint32_t>(out, static_cast<uint32_t>(data.size()));
  out->append(data);
}

std::string Introduction() {
  std::string out;
  AppendBig<uint64_t>(&out, kGreetingMagic);
  AppendBig<uint64_t>(&out, kOptionMagic);
  AppendBig<uint16_t>(&out, kFixedNewstyle | kNoZeroes);
  AppendAnswer(&out, Option::kStructuredReply, OptionReply::kAck);
  AppendAnswer(&out, Option::kSetMetaContext, OptionReply::kAck);
  std::string info;
  AppendBig<uint16_t>(&info, static_cast<uint16_t>(Info::kExport));
  AppendBig<uint64_t>(&info, kSizeBytes);
  AppendBig<uint16_t>(&info, kHasFlags | kReadOnly);
  AppendAnswer(&out, Option::kGo, OptionReply::kInfo, info);
  AppendAnswer(&out, Option::kGo, OptionReply::kAck);
  return out;
}

// One chunk of data; the last one of its reply.
std::string Data(uint64_t cookie, uint64_t offset, size_t bytes) {
  std::string out;
  AppendBig<uint32_t>(&out, kStructuredReplyMagic);
  AppendBig<uint16_t>(&out, kChunkDone);
  AppendBig<uint16_t>(&out, static_cast<uint16_t>(Chunk::kOffsetData));
  AppendBig<uint64_t>(&out, cookie);
  AppendBig<uint32_t>(&out, static_cast<uint32_t>(bytes + 8));
  AppendBig<uint64_t>(&out, offset);
  return out.append(bytes, 'x');
}

TEST_P(ClientDiskTest, AnAnswerToSomethingElseIsNotTaken) {
  const std::string wrong[] = {
      Data(2, 4096, 4096),                           // of nobody's question
      Data(1, 8192, 4096),                           // from elsewhere
      Data(1, 4096, 4095),                           // too little
      Data(1, 4096, 4097),                           // too much
      std::string(Data(1, 4096, 4096)).replace(0, 1, "?"),  // no reply
  };
  for (const std::string& answer : wrong) {
    PlayedServer server(Socket());
    std::thread plays([&] {
      server.Accept();
      server.Say(Introduction());
      server.Hear(AskForExport("").size() + kCompactRequestBytes);
      server.Say(answer);
    });
    Open();
    Bytes read(4096);
    EXPECT_EQ(ReadDisk(*loop, *disk, 4096, &read).error(), EPROTO);
    plays.join();
    unlink(Socket().c_str());
  }
}

INSTANTIATE_TEST_SUITE_P(Loops, ClientDiskTest, testing::Values(LoopBackend::kUring, LoopBackend::kEpoll),
                         [](const auto& info) { return info.param == LoopBackend::kUring ? "uring" : "epoll"; });

}  // namespace
}  // namespace varve::nbd
