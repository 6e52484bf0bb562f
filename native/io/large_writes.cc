#include "io/large_writes.h"

#include <limits>
#include <utility>

#include "base/boot_clock.h"
#include "io/event_loop.h"

namespace varve {

namespace {
// What is begun has as long for itself.
constexpr uint64_t kWaitMaxNs = EventLoop::kEnterKernelMaxNs / 2;
constexpr uint64_t kWhole = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kWholeNs = 10'000'000'000;
}  // namespace

void LargeWrites::Start(FileTransfer* transfer, uint64_t submitted_ns, Completion* done) {
  Write* write = writes_.Take();
  std::swap(write->transfer, *transfer);
  write->submitted_ns = submitted_ns;
  write->done = done;
  Lane* lane = &lanes_[write->transfer.fd()];
  std::lock_guard lock(lane->mutex);
  lane->waiting.push_back(write);
  if (!std::exchange(lane->running, true)) helpers_.Run([this, lane] { Work(lane); });
}

void LargeWrites::Work(Lane* lane) {
  Write* first = First(lane);
  const bool late = BootNanoseconds() - first->submitted_ns > kWaitMaxNs;
  if (late) RefuseAll(lane);
  else Post(first, Perform(lane, first));

  std::lock_guard lock(lane->mutex);
  if (!late) lane->waiting.pop_front();
  lane->running = !lane->waiting.empty();
  if (lane->running) helpers_.RunNext([this, lane] { Work(lane); });
}

LargeWrites::Write* LargeWrites::First(Lane* lane) {
  std::lock_guard lock(lane->mutex);
  return lane->waiting.front();
}

// All of them, so that those that are submitted again keep their order and are not behind those that came later each time.
void LargeWrites::RefuseAll(Lane* lane) {
  std::lock_guard lock(lane->mutex);
  for (Write* write : std::exchange(lane->waiting, {})) Post(write, Status(ETIME, "held up"));
}

Status LargeWrites::Perform(Lane* lane, Write* write) {
  const uint64_t piece_bytes = BootNanoseconds() < lane->whole_until_ns ? kWhole : kWritePieceBytes;
  const Status status = FinishWrite(&write->transfer, write->submitted_ns, piece_bytes);
  if (status.error() == ETIME) lane->whole_until_ns = BootNanoseconds() + kWholeNs;
  return status;
}

void LargeWrites::Post(Write* write, Status status) {
  write->status = status;
  inbox_.Post([this, write] { End(write); });
}

void LargeWrites::End(Write* write) {
  Completion* done = write->done;
  const Status status = write->status;
  writes_.Give(write);
  done->Run(status);
}

}  // namespace varve
