// Latencies: how long guests waited for the answers of one pool, in histograms that only grow.
//
// A request's time runs from when its loop may first have known of it, which is before the loop came to look when it had other work
// (EventLoop::arrivals_since_ns), to its answer. Buckets are an eighth of a power of two wide: what is read off them is
// less than 13 % too high.
// Whoever wants to know about a span of time subtracts two readings.
// Thread: Add on the request's loop, which alone writes its row; reading any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "io/event_loop.h"
#include "volume/block_target.h"

namespace varve {

class Latencies {
 public:
  enum class Kind : uint8_t { kRead, kWrite, kFlush };
  static constexpr size_t kKinds = 3;
  // From one microsecond to two minutes; what takes longer is in the last one.
  static constexpr size_t kBuckets = 200;

  explicit Latencies(const std::vector<EventLoop*>& loops);

  void Add(const BlockRequest& request, uint64_t nanoseconds);

  struct Reading {
    std::array<std::array<uint64_t, kBuckets>, kKinds> counts{};
    std::array<uint64_t, kKinds> nanoseconds{};  // of all of a kind together
  };
  // All loops together; each number as it was at some moment of the call.
  Reading Read() const;

  static size_t BucketOf(uint64_t nanoseconds);
  // What a bucket holds took less than this.
  static double BoundSeconds(size_t bucket);

 private:
  struct alignas(64) Row {
    std::array<std::array<std::atomic<uint64_t>, kBuckets>, kKinds> counts{};
    std::array<std::atomic<uint64_t>, kKinds> nanoseconds{};
  };
  std::vector<Row> rows_;  // by the loop's ordinal
};

}  // namespace varve
