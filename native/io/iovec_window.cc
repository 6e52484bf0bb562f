#include "io/iovec_window.h"

#include <algorithm>
#include <cstddef>

namespace varve {

namespace {
// The kernel takes 1,024 pieces in one call.
constexpr size_t kPiecesMax = 1000;
}  // namespace

void IovecWindow::Clear() {
  all_.clear();
  part_.clear();
  at_ = 0;
  consumed_ = 0;
}

void IovecWindow::Add(void* data, uint64_t bytes) {
  if (bytes > 0) all_.push_back({data, bytes});
}

void IovecWindow::Add(const iovec* iov, int count) {
  for (int i = 0; i < count; ++i) Add(iov[i].iov_base, iov[i].iov_len);
}

uint64_t IovecWindow::Next(uint64_t bytes_max, uint32_t block_bytes) {
  uint64_t bytes = Gather(bytes_max) / block_bytes * block_bytes;
  Trim(bytes);
  Advance(bytes);
  return bytes;
}

uint64_t IovecWindow::Gather(uint64_t bytes_max) {
  part_.clear();
  uint64_t bytes = 0, skip = consumed_;
  for (size_t i = at_; i < all_.size() && bytes < bytes_max && part_.size() < kPiecesMax; ++i, skip = 0) {
    uint64_t take = std::min<uint64_t>(all_[i].iov_len - skip, bytes_max - bytes);
    part_.push_back({static_cast<std::byte*>(all_[i].iov_base) + skip, take});
    bytes += take;
  }
  return bytes;
}

// Cuts the part to its first so many bytes.
void IovecWindow::Trim(uint64_t bytes) {
  size_t kept = 0;
  for (; kept < part_.size() && bytes > 0; ++kept) {
    part_[kept].iov_len = std::min<uint64_t>(part_[kept].iov_len, bytes);
    bytes -= part_[kept].iov_len;
  }
  part_.resize(kept);
}

void IovecWindow::Advance(uint64_t bytes) {
  while (bytes > 0) {
    uint64_t take = std::min<uint64_t>(bytes, all_[at_].iov_len - consumed_);
    consumed_ += take;
    bytes -= take;
    if (consumed_ < all_[at_].iov_len) return;
    consumed_ = 0;
    ++at_;
  }
}

}  // namespace varve
