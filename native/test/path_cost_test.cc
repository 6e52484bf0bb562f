// Goal: what a request costs the thread that serves it does not creep up: system calls and allocations, the whole path from socket to file.
// Method: a real server, session, volume and file disk on one loop of io_uring. The loop is held while a whole batch is sent, so that all of it is
//   there when the loop looks, and the next batch is sent when all replies have come. What other work on the machine does to that only adds, and
//   rarely: the least of many batches does not depend on it. Bounds: kWorkloads, counted in the kernel's own terms (call_counter.h).
//   Sanitizers make calls of their own: their variants run the batches and count nothing.
// To measure again: PRINT=1 make -C native one TEST=path_cost. A bound is what was measured, not a wish: lower it with the cost, and
//   raise it only for what is worth that, saying so in the commit.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <string_view>

#include "io/file_disk.h"
#include "io/unique_fd.h"
#include "nbd/server.h"
#include "test/call_counter.h"
#include "test/loop_fixture.h"
#include "test/nbd_wire.h"
#include "test/volume_fixture.h"

namespace varve {
namespace {

namespace wire = nbd::wire;

struct Workload {
  const char* name;
  nbd::Command command;
  unsigned requests;  // of a batch
  bool fresh;         // each into a cluster that has nothing yet
  bool flush;         // behind them, answered last
  // Of a batch, at most; a wake-up of the loop is the test's own, and so are the allocations of the fixture's control plane.
  uint64_t system_calls;
  uint64_t allocations;
};

// A system call or two more than the least of nearly every run: how often the loop was asleep is chance, a call more per request is not.
constexpr Workload kWorkloads[] = {
    {"read-1", nbd::Command::kRead, 1, false, false, 3 + 1, 0},
    {"read-32", nbd::Command::kRead, 32, false, false, 34 + 1, 0},
    {"overwrite-32", nbd::Command::kWrite, 32, false, false, 35 + 1, 0},
    {"fresh-write-32", nbd::Command::kWrite, 32, true, false, 35 + 1, 33},
    {"overwrite-8-flush", nbd::Command::kWrite, 8, false, true, 11 + 2, 0},
    {"fresh-write-8-flush", nbd::Command::kWrite, 8, true, true, 11 + 2, 8},
};

constexpr uint64_t kRequestBytes = 4096;
constexpr uint64_t kWrittenClusters = 1024;
constexpr uint64_t kClusters = 16384;
// First batches meet empty caches and free lists.
constexpr unsigned kWarmBatches = 5;
constexpr unsigned kBatches = 40;

void Demand(bool holds, const char* what) {
  if (holds) return;
  std::perror(what);
  std::abort();
}

std::shared_ptr<Disk> CreateDisk(const std::string& path) {
  std::ofstream(path).close();
  Demand(truncate(path.c_str(), static_cast<off_t>((kClusters + 1024) * kTestClusterBytes)) == 0, "truncate");
  std::shared_ptr<Disk> disk;
  Demand(OpenFileDisk(path, false, &disk).ok(), "open the disk");
  return disk;
}

PoolOptionsForTest OptionsOn(const std::string& folder) {
  PoolOptionsForTest options;
  options.clusters = kClusters;
  options.disk = CreateDisk(folder + "/disk");
  // Only flushes write the journal: no timer adds to anybody's costs.
  options.window_ms = 3'600'000;
  return options;
}

class Client {
 public:
  Client(const std::string& path, EventLoop& loop) : loop_(loop), fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    Demand(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
    Send(wire::ClientFlags(3) + wire::OptionBytes(nbd::Option::kExportName, "disk"));
    Receive(18 + 10);
  }

  // Returns what the loop's thread had done before the batch.
  CallCounts Run(const Workload& workload) {
    const std::string batch = NextBatch(workload);
    std::promise<CallCounts> held;
    std::promise<void> sent;
    loop_.Post([&, all_sent = sent.get_future().share()] {
      held.set_value(CallCounter::counts());
      all_sent.wait();
    });
    const CallCounts before = held.get_future().get();
    Send(batch);
    sent.set_value();
    const uint64_t payload = workload.command == nbd::Command::kRead ? kRequestBytes : 0;
    Receive(workload.requests * (16 + payload) + (workload.flush ? 16 : 0));
    return before;
  }

 private:
  std::string NextBatch(const Workload& workload) {
    std::string batch;
    for (unsigned i = 0; i < workload.requests; i++) {
      wire::RequestFields fields{.command = workload.command, .offset = NextOffset(workload.fresh), .length = kRequestBytes};
      const bool writes = workload.command == nbd::Command::kWrite;
      batch += wire::RequestBytes(nbd::Framing::kSimple, fields, writes ? payload_ : "");
    }
    if (workload.flush) batch += wire::RequestBytes(nbd::Framing::kSimple, {.command = nbd::Command::kFlush});
    return batch;
  }

  // Old ones in an order that is random to every cache and the same in every run.
  uint64_t NextOffset(bool fresh) {
    if (fresh) return fresh_++ * kTestClusterBytes;
    old_ = (old_ * 5 + 387) % kWrittenClusters;
    return old_ * kTestClusterBytes;
  }

  void Send(const std::string& bytes) {
    Demand(::send(fd_.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()), "send");
  }
  void Receive(uint64_t bytes) {
    replies_.resize(bytes);
    Demand(::recv(fd_.get(), replies_.data(), bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes), "receive");
  }

  EventLoop& loop_;
  UniqueFd fd_;
  const std::string payload_ = std::string(kRequestBytes, 'x');
  std::string replies_;
  uint64_t fresh_ = 0;
  uint64_t old_ = 0;
};

void WriteWhatIsOld(Client& client) {
  const Workload fill{"", nbd::Command::kWrite, 32, true, true, 0, 0};
  for (uint64_t written = 0; written < kWrittenClusters; written += fill.requests) client.Run(fill);
}

template <typename Result>
Result OnLoop(EventLoop& loop, Result (*work)()) {
  std::promise<Result> done;
  loop.Post([&] { done.set_value(work()); });
  return done.get_future().get();
}

CallCounts CostOf(Client& client, const Workload& workload) {
  for (unsigned i = 0; i < kWarmBatches; i++) client.Run(workload);
  CallCounts least{~uint64_t{0}, ~uint64_t{0}};
  CallCounts before = client.Run(workload);
  for (unsigned i = 0; i < kBatches; i++) {
    const CallCounts after = client.Run(workload);
    least.system_calls = std::min(least.system_calls, after.system_calls - before.system_calls);
    least.allocations = std::min(least.allocations, after.allocations - before.allocations);
    before = after;
  }
  return least;
}

class Nobody final : public nbd::ServerEvents {
 public:
  void ClientConnected(nbd::ClientId, std::string_view, std::string_view) override {}
  void ClientDisconnected(nbd::ClientId, std::string_view, std::string_view) override {}
};

void CloseServer(nbd::Server& server) {
  std::promise<void> closed;
  server.Close([&] { closed.set_value(); });
  closed.get_future().wait();
}

void ExpectWithin(const Workload& bound, const CallCounts& cost) {
  if (std::getenv("PRINT") != nullptr) {
    std::printf("%-20s %3lu system calls, %3lu allocations a batch of %u\n", bound.name, cost.system_calls, cost.allocations, bound.requests);
  }
  EXPECT_LE(cost.system_calls, bound.system_calls) << bound.name << ": more system calls a batch; the file's head says how to go on";
  EXPECT_LE(cost.allocations, bound.allocations) << bound.name << ": more allocations a batch; the file's head says how to go on";
}

TEST(PathCost, StaysWithinItsBounds) {
  const std::string folder = testing::TempDir() + "varve-path-cost-" + std::to_string(getpid());
  std::filesystem::create_directory(folder);
  ControlPlaneForTest plane(OptionsOn(folder));
  EventLoop& loop = plane.loop(0);
  Volume& volume = plane.OpenVolume(kClusters * kTestClusterBytes, true);
  Nobody nobody;
  nbd::Server server({&loop}, {}, &nobody);
  nbd::ListenerId listener = 0;
  uint16_t port = 0;
  ASSERT_TRUE(server.AddListener({folder + "/socket", "", 0}, &listener, &port).ok());
  nbd::ExportSpec spec{};
  spec.name = "disk";
  spec.target = std::shared_ptr<BlockTarget>(&volume, [](BlockTarget*) {});
  spec.listeners = {listener};
  ASSERT_TRUE(server.AddExport(spec).ok());
  {
    Client client(folder + "/socket", loop);
    WriteWhatIsOld(client);
    ASSERT_EQ(OnLoop(loop, &CallCounter::Begin), 0) << "this kernel has no syscall user dispatch (5.11)";
    for (const Workload& workload : kWorkloads) ExpectWithin(workload, CostOf(client, workload));
    OnLoop<int>(loop, [] { CallCounter::End(); return 0; });
  }
  CloseServer(server);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace varve
