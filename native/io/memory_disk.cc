#include "io/memory_disk.h"

#include <mutex>

namespace varve {

void MemoryDisk::Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  std::shared_lock lock(mutex_);
  ForEachPiece(offset, iov, count, [this](uint64_t at, std::byte* data, uint64_t bytes) {
    content_.Read(at, data, bytes);
  });
  loop.Complete(done, Status::Ok());
}

void MemoryDisk::Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  std::lock_guard lock(mutex_);
  ForEachPiece(offset, iov, count, [this](uint64_t at, std::byte* data, uint64_t bytes) {
    content_.Write(at, data, bytes);
  });
  loop.Complete(done, Status::Ok());
}

void MemoryDisk::ReadNow(uint64_t offset, std::byte* out, uint64_t bytes) {
  std::shared_lock lock(mutex_);
  content_.Read(offset, out, bytes);
}

void MemoryDisk::WriteNow(uint64_t offset, const std::byte* data, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  content_.Write(offset, data, bytes);
}

SparseBytes MemoryDisk::ShareNow() {
  std::lock_guard lock(mutex_);
  return content_.Share();
}

void MemoryDisk::Sync(EventLoop& loop, Completion* done) { loop.Complete(done, Status::Ok()); }

void MemoryDisk::Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  WriteZeroes(loop, offset, bytes, done);
}

void MemoryDisk::WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  std::lock_guard lock(mutex_);
  content_.Zero(offset, bytes);
  loop.Complete(done, Status::Ok());
}

}  // namespace varve
