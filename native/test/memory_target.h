// MemoryTarget: a BlockTarget on memory, sparse, with exact extents. For the protocol's tests and as the
// protocol's ceiling in benches.
//
// Pages of 4 KiB: absent (hole), zero but provided (WRITE_ZEROES with NO_HOLE), or data.
// Thread: any loop's; one lock per stripe of pages, taken page by page.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "volume/block_target.h"

namespace varve {

class MemoryTarget final : public BlockTarget {
 public:
  explicit MemoryTarget(uint64_t size_bytes);
  ~MemoryTarget() override;

  void Submit(BlockRequest* request) override;
  uint64_t size_bytes() const override { return size_bytes_; }
  uint32_t preferred_block_bytes() const override { return kPageBytes; }

  // Writes and trims complete this much later, so that tests can look at what is in flight.
  void DelayWrites(std::chrono::milliseconds delay) { write_delay_ = delay; }

 private:
  static constexpr uint32_t kPageBytes = 4096;
  static constexpr size_t kStripes = 64;

  struct Page {
    bool zero;  // provided, and nothing but zeroes
    std::byte data[kPageBytes];
  };
  struct Span {  // the part of a range that lies in one page
    uint64_t page;
    uint32_t begin;
    uint32_t bytes;
  };

  static Span SpanAt(uint64_t offset, uint64_t length);
  std::mutex& LockOf(uint64_t page) { return stripes_[page % kStripes]; }
  void Apply(BlockRequest* request);
  void Read(BlockRequest* request);
  void Write(uint64_t offset, const std::byte* data, uint64_t length);
  void Zero(uint64_t offset, uint64_t length, bool no_hole, bool whole_pages_only);
  void Status(BlockRequest* request);
  uint32_t ReadPage(const Span& span, std::byte* out);
  uint32_t FlagsOf(uint64_t page);

  uint64_t size_bytes_;
  uint64_t page_count_;
  Page** pages_;  // mapped: absent pages of a huge target cost nothing
  std::array<std::mutex, kStripes> stripes_;
  std::chrono::milliseconds write_delay_{0};
};

}  // namespace varve
