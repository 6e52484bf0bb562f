// Goal: many clients on several loops, with exports that come, go and pause under them, neither race nor lose a write nor hang.
// Method: the real server on two loops and a unix socket; clients on threads of their own connect, write and read back what they wrote in a part of
//   the export that is theirs, and go, some in the middle of a request; meanwhile another thread pauses, resumes, lists and removes. Its worth is
//   the variant tsan: every lock and every hand-over between loops is met from both sides. Seeded: SEED=n.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "io/unique_fd.h"
#include "nbd/server.h"
#include "test/loop_fixture.h"
#include "test/memory_target.h"
#include "test/nbd_wire.h"

namespace varve::nbd {
namespace {

constexpr uint64_t kPartBytes = 256 << 10;
constexpr unsigned kClients = 6;
constexpr int kRounds = 12;
constexpr int kRequests = 24;
constexpr int kReadsBetween = 16;  // of all clients, between one disturbance and the next

unsigned Seed() {
  const char* given = std::getenv("SEED");
  return given ? static_cast<unsigned>(std::strtoul(given, nullptr, 0)) : std::random_device{}();
}

// A blocking client of the compact framing. Any failure of the connection closes it: the export may have gone.
class Client {
 public:
  explicit Client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    open_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  // True: transmission has begun.
  bool Negotiate(const std::string& name) {
    std::string greeting(18, 0);
    if (!Receive(&greeting)) return false;
    Send(wire::ClientFlags(3) + wire::OptionBytes(Option::kGo, wire::InfoData(name)));
    for (;;) {
      std::string head(20, 0);
      if (!Receive(&head)) return false;
      const auto type = LoadBig<uint32_t>(Bytes(head, 12));
      std::string data(LoadBig<uint32_t>(Bytes(head, 16)), 0);
      if (!Receive(&data)) return false;
      if (type == static_cast<uint32_t>(OptionReply::kAck)) return true;
      if (type & 0x80000000u) return false;
    }
  }

  void Send(const std::string& bytes) {
    open_ = open_ && ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }

  // False: the connection has gone. *error: what the server answered.
  bool Reply(uint32_t* error, std::string* payload) {
    std::string head(16, 0);
    if (!Receive(&head)) return false;
    *error = LoadBig<uint32_t>(Bytes(head, 4));
    return *error != 0 || Receive(payload);
  }

 private:
  static const std::byte* Bytes(const std::string& text, size_t at) {
    return reinterpret_cast<const std::byte*>(text.data() + at);
  }
  bool Receive(std::string* bytes) {
    for (size_t had = 0; open_ && had < bytes->size();) {
      const ssize_t got = ::recv(fd_.get(), bytes->data() + had, bytes->size() - had, 0);
      open_ = got > 0;
      had += open_ ? static_cast<size_t>(got) : 0;
    }
    return open_;
  }

  UniqueFd fd_;
  bool open_ = false;
};

// What one client knows of its part of the export.
class Part {
 public:
  explicit Part(unsigned owner) : base_(owner * kPartBytes), known_(kPartBytes, 1), content_(kPartBytes, 0) {}

  uint64_t base() const { return base_; }
  // Of a write that may have happened or not.
  void Forget(uint64_t offset, uint64_t length) { std::fill_n(known_.begin() + offset, length, 0); }
  void Wrote(uint64_t offset, const std::string& data) {
    data.copy(content_.data() + offset, data.size());
    std::fill_n(known_.begin() + offset, data.size(), 1);
  }
  bool Agrees(uint64_t offset, const std::string& data) const {
    for (size_t i = 0; i < data.size(); i++) {
      if (known_[offset + i] && data[i] != content_[offset + i]) return false;
    }
    return true;
  }

 private:
  uint64_t base_;
  std::vector<char> known_;
  std::string content_;
};

class Guest {
 public:
  // compared: counts its reads that were compared.
  Guest(unsigned number, unsigned seed, std::string path, std::atomic<int>* compared)
      : random_(seed + number), part_(number), path_(std::move(path)), compared_(compared) {}

  void Live() {
    for (int round = 0; round < kRounds; round++) {
      Client client(path_);
      while (!client.Negotiate("d")) client = Client(path_);
      for (int i = 0; i < kRequests && Request(client); i++) {}
      if (Below(2)) LeaveInTheMiddle(client);
    }
  }

 private:
  unsigned Below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }

  std::string Content(size_t bytes) {
    std::string data(bytes, 0);
    for (char& byte : data) byte = static_cast<char>(random_());
    return data;
  }

  // False: the connection has gone.
  bool Request(Client& client) {
    const uint64_t length = 1 + Below(16 << 10);
    const uint64_t offset = Below(kPartBytes - static_cast<unsigned>(length));
    return Below(2) ? Write(client, offset, length) : Read(client, offset, length);
  }

  bool Write(Client& client, uint64_t offset, uint64_t length) {
    const std::string data = Content(length);
    part_.Forget(offset, length);
    client.Send(wire::RequestBytes(Framing::kSimple, {Command::kWrite, 0, 7, part_.base() + offset, length}, data));
    uint32_t error = 0;
    std::string none;
    if (!client.Reply(&error, &none)) return false;
    EXPECT_EQ(error, 0u);
    part_.Wrote(offset, data);
    return true;
  }

  bool Read(Client& client, uint64_t offset, uint64_t length) {
    client.Send(wire::RequestBytes(Framing::kSimple, {Command::kRead, 0, 8, part_.base() + offset, length}));
    uint32_t error = 0;
    std::string data(length, 0);
    if (!client.Reply(&error, &data)) return false;
    EXPECT_EQ(error, 0u);
    EXPECT_TRUE(part_.Agrees(offset, data)) << "part at " << part_.base() << ", offset " << offset;
    (*compared_)++;
    return true;
  }

  // Half of a request, or one whose answer nobody reads.
  void LeaveInTheMiddle(Client& client) {
    const uint64_t length = 8 << 10;
    part_.Forget(0, length);
    const std::string bytes = wire::RequestBytes(Framing::kSimple, {Command::kWrite, 0, 9, part_.base(), length}, Content(length));
    client.Send(bytes.substr(0, Below(2) ? bytes.size() : bytes.size() / 2));
  }

  std::mt19937 random_;
  Part part_;
  std::string path_;
  std::atomic<int>* const compared_;
};

// The server with its loops, torn down in order.
class ServerUnderStress {
 public:
  explicit ServerUnderStress(const std::string& path) {
    std::vector<EventLoop*> pointers;
    for (size_t i = 0; i < 2; i++) {
      std::string error;
      loops_.push_back(CreateEventLoop(LoopBackend::kAuto, &error));
      loops_.back()->ordinal = i;
      loops_.back()->Start("nbd");
      pointers.push_back(loops_.back().get());
    }
    ServerLimits limits;
    limits.buffer_bytes = 64 << 10;  // short: memory is waited for, too
    server_ = std::make_unique<Server>(pointers, limits, &silent_);
    ListenerId listener = 0;
    EXPECT_TRUE(server_->AddListener({path, "", 0}, &listener, nullptr).ok());
    spec_.name = "d";
    spec_.target = std::make_shared<MemoryTarget>(kClients * kPartBytes);
    spec_.listeners = {listener};
    EXPECT_TRUE(server_->AddExport(spec_).ok());
  }
  ~ServerUnderStress() {
    std::promise<void> closed;
    server_->Close([&] { closed.set_value(); });
    closed.get_future().wait();
    server_.reset();
    for (auto& loop : loops_) loop->Stop();
  }

  void PauseAndResume() {
    std::promise<void> paused, resumed;
    EXPECT_TRUE(server_->PauseExport("d", [&] { paused.set_value(); }).ok());
    paused.get_future().wait();
    EXPECT_TRUE(server_->ResumeExport("d", nullptr, [&] { resumed.set_value(); }).ok());
    resumed.get_future().wait();
  }
  void RemoveAndAdd(Parting parting) {
    std::promise<unsigned> removed;
    EXPECT_TRUE(server_->RemoveExport("d", parting, [&](unsigned clients) { removed.set_value(clients); }).ok());
    removed.get_future().wait();
    EXPECT_TRUE(server_->AddExport(spec_).ok());
  }
  size_t CountClients() { return server_->ListClients().size(); }

 private:
  struct Silent final : ServerEvents {
    void ClientConnected(ClientId, std::string_view, std::string_view) override {}
    void ClientDisconnected(ClientId, std::string_view, std::string_view) override {}
  };

  Silent silent_;
  std::vector<std::unique_ptr<EventLoop>> loops_;
  std::unique_ptr<Server> server_;
  ExportSpec spec_;
};

TEST(NbdServerStress, ClientsThatComeAndGoLoseNothingWhileTheExportDoesToo) {
  const unsigned seed = Seed();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  char folder[] = "/tmp/varve-stress-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/nbd.sock";
  std::atomic<unsigned> alive = kClients;
  std::atomic<int> compared = 0;
  {
    ServerUnderStress server(path);
    std::vector<std::thread> threads;
    for (unsigned number = 0; number < kClients; number++) {
      threads.emplace_back([&, number] {
        Guest(number, seed, path, &compared).Live();
        alive--;
      });
    }
    std::mt19937 random(seed);
    // Clients get something done in between, however fast this thread runs beside theirs.
    const auto let_some_pass = [&] {
      const int enough = compared + kReadsBetween;
      while (alive > 0 && compared < enough) {
        server.CountClients();
        std::this_thread::yield();
      }
    };
    while (alive > 0) {
      const auto choice = random() % 3;
      if (choice == 0) server.RemoveAndAdd(Parting::kDrain);
      if (choice == 1) server.RemoveAndAdd(Parting::kAbort);
      if (choice == 2) server.PauseAndResume();
      let_some_pass();
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_GT(compared, 100);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace varve::nbd
