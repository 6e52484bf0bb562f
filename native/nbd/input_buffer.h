// InputBuffer: bytes received and not yet taken, in one piece.
//
// Large enough for one receive to bring a deep queue of small requests with their payloads. Its
// pages are committed as the kernel fills them: an idle connection costs one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

namespace varve::nbd {

class InputBuffer {
 public:
  explicit InputBuffer(size_t capacity_bytes)
      : capacity_bytes_(capacity_bytes), bytes_(std::make_unique_for_overwrite<std::byte[]>(capacity_bytes)) {}

  std::span<const std::byte> content() const { return {bytes_.get() + begin_, end_ - begin_}; }
  size_t size() const { return end_ - begin_; }

  void Drop(size_t bytes) {
    begin_ += bytes;
    if (begin_ == end_) begin_ = end_ = 0;
  }

  size_t CopyOut(std::byte* to, size_t bytes_max) {
    const size_t bytes = std::min(bytes_max, size());
    std::memcpy(to, bytes_.get() + begin_, bytes);
    Drop(bytes);
    return bytes;
  }

  // Room for the next receive. What is left over, less than a header or an option, moves to the front first.
  std::span<std::byte> Room() {
    std::memmove(bytes_.get(), bytes_.get() + begin_, size());
    end_ = size();
    begin_ = 0;
    return {bytes_.get() + end_, capacity_bytes_ - end_};
  }
  // `bytes` were received into Room().
  void Commit(size_t bytes) { end_ += bytes; }

  // bytes fit. An empty span may have no address, which memcpy may not be given.
  void Append(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    std::memcpy(Room().data(), bytes.data(), bytes.size());
    Commit(bytes.size());
  }

 private:
  size_t capacity_bytes_;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::unique_ptr<std::byte[]> bytes_;
};

}  // namespace varve::nbd
