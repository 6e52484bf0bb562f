#include "io/unsynced_writes.h"

#include <algorithm>
#include <utility>

namespace varve {

void UnsyncedWrites::Keep(uint64_t offset, const iovec* iov, int count) {
  auto content = std::make_shared<std::vector<std::byte>>();
  uint64_t bytes = 0;
  for (int i = 0; i < count; ++i) bytes += iov[i].iov_len;
  content->reserve(bytes);
  for (int i = 0; i < count; ++i) {
    auto* data = static_cast<const std::byte*>(iov[i].iov_base);
    content->insert(content->end(), data, data + iov[i].iov_len);
  }
  Put(offset, bytes, std::move(content));
}

void UnsyncedWrites::KeepZeroes(uint64_t offset, uint64_t bytes) { Put(offset, bytes, nullptr); }

void UnsyncedWrites::Put(uint64_t offset, uint64_t bytes, Content content) {
  Forget(offset, bytes);
  if (bytes == 0) return;
  Run run{bytes, std::move(content), 0, generation_};
  bytes_ += Cost(run);
  runs_.emplace(offset, std::move(run));
}

void UnsyncedWrites::Forget(uint64_t offset, uint64_t bytes) {
  CutAt(offset);
  CutAt(offset + bytes);
  auto run = runs_.lower_bound(offset);
  while (run != runs_.end() && run->first < offset + bytes) run = Drop(run);
}

// Splits the run that contains the offset, if it does not begin there.
void UnsyncedWrites::CutAt(uint64_t offset) {
  auto after = runs_.upper_bound(offset);
  if (after == runs_.begin()) return;
  auto& [start, run] = *std::prev(after);
  if (start == offset || start + run.bytes <= offset) return;
  uint64_t head = offset - start;
  runs_.emplace_hint(after, offset, Run{run.bytes - head, run.content, run.start + head, run.generation});
  run.bytes = head;
}

UnsyncedWrites::Runs::iterator UnsyncedWrites::Drop(Runs::iterator run) {
  bytes_ -= Cost(run->second);
  return runs_.erase(run);
}

void UnsyncedWrites::Synced(uint64_t mark) {
  for (auto run = runs_.begin(); run != runs_.end();) {
    run = run->second.generation < mark ? Drop(run) : std::next(run);
  }
}

bool UnsyncedWrites::Next(uint64_t offset, uint64_t bytes_max, Piece* piece) const {
  auto found = runs_.upper_bound(offset);
  if (found != runs_.begin() && std::prev(found)->first + std::prev(found)->second.bytes > offset) --found;
  if (found == runs_.end()) return false;
  const auto& [start, run] = *found;
  uint64_t skip = std::max(start, offset) - start;
  const std::byte* data = run.content ? run.content->data() + run.start + skip : nullptr;
  *piece = {start + skip, std::min(run.bytes - skip, bytes_max), data};
  return true;
}

}  // namespace varve
