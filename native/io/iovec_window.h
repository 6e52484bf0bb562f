// IovecWindow: a transfer of many pieces of memory, cut into commands of whole blocks.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <vector>

namespace varve {

class IovecWindow {
 public:
  void Clear();
  void Add(void* data, uint64_t bytes);
  void Add(const iovec* iov, int count);

  const iovec* all() const { return all_.data(); }
  int all_count() const { return static_cast<int>(all_.size()); }

  // The next part: at most bytes_max, a multiple of block_bytes. Its pieces are valid until the next call. 0: nothing left, or a
  // block lies in more pieces than one command takes.
  uint64_t Next(uint64_t bytes_max, uint32_t block_bytes);
  iovec* part() { return part_.data(); }
  int part_count() const { return static_cast<int>(part_.size()); }
  bool done() const { return at_ == all_.size(); }

 private:
  void Advance(uint64_t bytes);
  uint64_t Gather(uint64_t bytes_max);
  void Trim(uint64_t bytes);

  std::vector<iovec> all_, part_;
  size_t at_ = 0;          // piece where the next part begins
  uint64_t consumed_ = 0;  // of that piece
};

}  // namespace varve
