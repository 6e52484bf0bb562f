// The simulated loop and gated disks: nothing moves that was not told to.
#include "io/simulated_loop.h"

#include <algorithm>

#include "base/boot_clock.h"
#include "io/gated_disk.h"
#include "io/memory_disk.h"
#include "test/loop_fixture.h"

namespace varve {
namespace {

using std::chrono::milliseconds;

struct NotingTimer : Timer {
  NotingTimer(std::string* in, char as) : Timer(OnDue), notes(in), name(as) {}
  static void OnDue(Timer* self) {
    auto* timer = static_cast<NotingTimer*>(self);
    *timer->notes += timer->name;
  }
  std::string* notes;
  char name;
};

TEST(SimulatedLoop, DoesInATurnWhatThereWasBefore) {
  SimulatedLoop loop;
  std::string notes;
  CallCompletion ready([&](Status) { notes += 'r'; });
  CallCompletion deferred([&](Status) { notes += 'd'; });
  loop.Defer(&deferred);
  loop.Complete(&ready, Status::Ok());
  loop.Post([&] {
    notes += 'p';
    EXPECT_TRUE(loop.OnLoopThread());
    loop.Post([&] { notes += 'q'; });
  });
  EXPECT_FALSE(loop.OnLoopThread());
  EXPECT_EQ(notes, "");
  loop.Turn();
  EXPECT_EQ(notes, "prd");
  EXPECT_TRUE(loop.HasWork());
  loop.Turn();
  EXPECT_EQ(notes, "prdq");
  EXPECT_FALSE(loop.HasWork());
}

TEST(SimulatedLoop, TimersAreDueWhenTimeIsMoved) {
  SimulatedLoop loop;
  std::string notes;
  NotingTimer early(&notes, 'e'), late(&notes, 'l'), cancelled(&notes, 'c');
  loop.SetTimer(&late, milliseconds(20));
  loop.SetTimer(&early, milliseconds(10));
  loop.SetTimer(&cancelled, milliseconds(10));
  loop.CancelTimer(&cancelled);
  const uint64_t begun = BootNanoseconds();
  EXPECT_EQ(loop.next_due_ns(), begun + 10'000'000);
  SimulatedLoop::Advance(milliseconds(10) - std::chrono::nanoseconds(1));
  EXPECT_FALSE(loop.HasWork());
  SimulatedLoop::Advance(std::chrono::nanoseconds(1));
  EXPECT_TRUE(loop.HasWork());
  loop.Turn();
  EXPECT_EQ(notes, "e");
  SimulatedLoop::Advance(milliseconds(10));
  loop.Turn();
  EXPECT_EQ(notes, "el");
  EXPECT_EQ(loop.next_due_ns(), std::nullopt);
  EXPECT_EQ(BootNanoseconds(), begun + 20'000'000);
}

class GatedDiskTest : public testing::Test {
 protected:
  std::vector<std::byte> Below() {
    std::vector<std::byte> found(kBytes);
    memory->ReadNow(0, found.data(), found.size());
    return found;
  }
  uint64_t OnlyWaiting() {
    EXPECT_EQ(gate.waiting().size(), 1U);
    return gate.waiting().at(0).id;
  }

  void LetGo(const std::vector<Gate::Waiting>& all) {
    for (const Gate::Waiting& each : all) {
      gate.LetGo(each.id);
      loop.Turn();
    }
  }

  static constexpr size_t kBytes = 4096;
  SimulatedLoop loop;
  Gate gate;
  std::shared_ptr<MemoryDisk> memory = std::make_shared<MemoryDisk>(1 << 20);
  GatedDisk disk{memory, &gate, 7};
  std::vector<std::byte> data = std::vector<std::byte>(kBytes, std::byte{1});
  iovec piece{data.data(), data.size()};
};

TEST_F(GatedDiskTest, AnOperationWaitsOnItsWayAndOnItsWayBack) {
  CallCompletion done([](Status status) { EXPECT_TRUE(status.ok()); });
  disk.Write(loop, 0, &piece, 1, &done);
  loop.Turn();
  EXPECT_EQ(Below(), std::vector<std::byte>(kBytes));

  const Gate::Waiting waiting = gate.waiting().at(0);
  EXPECT_EQ(waiting.disk, 7U);
  EXPECT_EQ(waiting.op, DiskOp::kWrite);
  EXPECT_EQ(waiting.bytes, kBytes);
  EXPECT_FALSE(waiting.performed);
  gate.LetGo(waiting.id);
  loop.Turn();
  EXPECT_EQ(Below(), data);
  EXPECT_EQ(done.runs, 0);

  EXPECT_TRUE(gate.waiting().at(0).performed);
  gate.LetGo(OnlyWaiting());
  EXPECT_EQ(done.runs, 1);
  EXPECT_TRUE(gate.waiting().empty());
}

TEST_F(GatedDiskTest, WhoWaitsGoesOnInAnyOrder) {
  std::string ends;
  CallCompletion write([&](Status) { ends += 'w'; });
  CallCompletion sync([&](Status) { ends += 's'; });
  CallCompletion zero([&](Status) { ends += 'z'; });
  disk.Write(loop, 0, &piece, 1, &write);
  disk.Sync(loop, &sync);
  disk.WriteZeroes(loop, 0, kBytes, &zero);
  std::vector<Gate::Waiting> there = gate.waiting();
  ASSERT_EQ(there.size(), 3U);
  std::reverse(there.begin(), there.end());
  LetGo(there);
  EXPECT_EQ(ends, "");
  LetGo(gate.waiting());
  EXPECT_EQ(ends, "zsw");
  EXPECT_EQ(Below(), data);  // the zeroes were first
}

}  // namespace
}  // namespace varve
