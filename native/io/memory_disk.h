// MemoryDisk: a Disk in memory, sparse. Nothing survives the process.
//
// Thread: any loop's.
#pragma once

#include <shared_mutex>

#include "io/disk.h"
#include "io/sparse_bytes.h"

namespace varve {

class MemoryDisk final : public Disk {
 public:
  explicit MemoryDisk(uint64_t size_bytes) : size_bytes_(size_bytes) {}
  MemoryDisk(uint64_t size_bytes, SparseBytes content)
      : size_bytes_(size_bytes), content_(std::move(content)) {}

  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Sync(EventLoop& loop, Completion* done) override;
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  uint64_t size_bytes() const override { return size_bytes_; }

  // At once, for whoever needs no loop.
  void ReadNow(uint64_t offset, std::byte* out, uint64_t bytes);
  void WriteNow(uint64_t offset, const std::byte* data, uint64_t bytes);
  // An equal array, from now on independent of this one.
  SparseBytes ShareNow();
  // What `look(bytes)` returns; they do not change meanwhile.
  template <typename Look>
  auto LookAt(Look look) {
    std::shared_lock lock(mutex_);
    return look(static_cast<const SparseBytes&>(content_));
  }

 private:
  const uint64_t size_bytes_;
  std::shared_mutex mutex_;
  SparseBytes content_;  // by mutex_
};

// Each piece of a vectored transfer at its place: visit(offset, data, bytes).
template <typename Visit>
void ForEachPiece(uint64_t offset, const iovec* iov, int count, Visit visit) {
  for (int i = 0; i < count; ++i) {
    visit(offset, static_cast<std::byte*>(iov[i].iov_base), iov[i].iov_len);
    offset += iov[i].iov_len;
  }
}

}  // namespace varve
