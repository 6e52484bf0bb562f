#include "volume/latencies.h"

#include <algorithm>
#include <bit>

namespace varve {

namespace {
// The unit is 1,024 ns: a shift instead of a division on the path of every request.
constexpr unsigned kUnitShift = 10;
constexpr double kUnitSeconds = 1024e-9;
constexpr unsigned kStepShift = 3;
constexpr uint64_t kSteps = 1 << kStepShift;  // per power of two
static_assert(Latencies::kBuckets % kSteps == 0);

// A write with FUA waits for what a flush waits for.
Latencies::Kind KindOf(const BlockRequest& request) {
  if (request.op == BlockOp::kFlush || request.fua) return Latencies::Kind::kFlush;
  return request.op == BlockOp::kRead ? Latencies::Kind::kRead : Latencies::Kind::kWrite;
}

// One writer: no locked instruction.
void Grow(std::atomic<uint64_t>& number, uint64_t by) {
  number.store(number.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

size_t RowsFor(const std::vector<EventLoop*>& loops) {
  size_t rows = 0;
  for (const EventLoop* loop : loops) rows = std::max(rows, loop->ordinal + 1);
  return rows;
}
}  // namespace

Latencies::Latencies(const std::vector<EventLoop*>& loops) : rows_(RowsFor(loops)) {}

void Latencies::Add(const BlockRequest& request, uint64_t nanoseconds) {
  Row& row = rows_[request.loop->ordinal];
  const size_t kind = static_cast<size_t>(KindOf(request));
  Grow(row.counts[kind][BucketOf(nanoseconds)], 1);
  Grow(row.nanoseconds[kind], nanoseconds);
}

Latencies::Reading Latencies::Read() const {
  Reading sum;
  for (const Row& row : rows_) {
    for (size_t kind = 0; kind < kKinds; kind++) {
      for (size_t i = 0; i < kBuckets; i++) sum.counts[kind][i] += row.counts[kind][i].load(std::memory_order_relaxed);
      sum.nanoseconds[kind] += row.nanoseconds[kind].load(std::memory_order_relaxed);
    }
  }
  return sum;
}

// The first bucket of each power of two is a multiple of kSteps; below, each unit has its own.
size_t Latencies::BucketOf(uint64_t nanoseconds) {
  const uint64_t units = nanoseconds >> kUnitShift;
  if (units < kSteps) return units;
  const unsigned power = static_cast<unsigned>(std::bit_width(units)) - 1 - kStepShift;
  return std::min(kBuckets - 1, static_cast<size_t>(power * kSteps + (units >> power)));
}

double Latencies::BoundSeconds(size_t bucket) {
  if (bucket < kSteps) return static_cast<double>(bucket + 1) * kUnitSeconds;
  const size_t power = bucket / kSteps - 1;
  const uint64_t units = (bucket % kSteps + kSteps + 1) << power;
  return static_cast<double>(units) * kUnitSeconds;
}

}  // namespace varve
