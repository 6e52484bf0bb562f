#include "journal/pending_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace varve {

struct PendingLog::Header {
  uint8_t magic[8];
  uint32_t version;
  uint32_t reserved;
  uint8_t pool_uuid[16];
  uint64_t epoch;
  uint64_t capacity;
  uint64_t durable_serial;
  char boot_id[36];
  uint8_t zero[4096 - 92];
};

struct PendingLog::Entry {
  uint64_t serial;
  Delta delta;
};

namespace {

void ReadBootId(char out[36]) {
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t got = read(fd, out, 36);
  (void)got;
  close(fd);
}

void* Map(const std::string& path, size_t bytes, Status* status) {
  if (path.empty()) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) *status = Status(errno, "pending log");
    return memory;
  }
  // Made under another name and renamed, so that a half-made log is never taken for one.
  std::string fresh = path + ".new";
  int fd = open(fresh.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    *status = Status(errno, "pending log");
    return MAP_FAILED;
  }
  // Space is taken now: a store into a hole of a full file system would kill the process (SIGBUS).
  void* memory = MAP_FAILED;
  errno = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  if (errno == 0) memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED || rename(fresh.c_str(), path.c_str()) != 0) *status = Status(errno, "pending log");
  close(fd);
  return memory;
}

}  // namespace

PendingLog::~PendingLog() {
  if (header_ != nullptr) munmap(header_, sizeof(Header) + kCapacity * sizeof(Entry));
}

Status PendingLog::Open(const std::string& path, const uint8_t pool_uuid[16], uint64_t epoch) {
  static_assert(sizeof(Header) == 4096);
  static_assert(sizeof(Entry) == 40);
  Status status;
  void* memory = Map(path, sizeof(Header) + kCapacity * sizeof(Entry), &status);
  if (!status.ok()) return status;
  header_ = static_cast<Header*>(memory);
  entries_ = reinterpret_cast<Entry*>(header_ + 1);
  header_->version = 1;
  std::memcpy(header_->pool_uuid, pool_uuid, 16);
  header_->epoch = epoch;
  header_->capacity = kCapacity;
  ReadBootId(header_->boot_id);
  std::memcpy(header_->magic, "VARVEPND", 8);
  return Status::Ok();
}

PendingLog::Entry* PendingLog::EntryOf(uint64_t serial) const { return &entries_[serial % kCapacity]; }

bool PendingLog::Reserve(uint32_t count) {
  std::lock_guard lock(mutex_);
  uint64_t used = last_.load(std::memory_order_relaxed) - durable_.load(std::memory_order_relaxed);
  if (used + reserved_ + count > kCapacity) return false;
  reserved_ += count;
  return true;
}

void PendingLog::Forfeit(uint32_t count) {
  std::lock_guard lock(mutex_);
  reserved_ -= count;
}

uint64_t PendingLog::Append(const Delta& delta) {
  std::lock_guard lock(mutex_);
  reserved_ -= 1;
  uint64_t last = last_.load(std::memory_order_relaxed);
  if (last > sealed_ && delta.released().none()) {
    Entry* newest = EntryOf(last);
    const bool same_slot = newest->delta.layer == delta.layer && newest->delta.slot == delta.slot;
    const bool same_zeroes = static_cast<SlotMask>(newest->delta.released_and_zero) == static_cast<SlotMask>(delta.released_and_zero);
    if (same_slot && same_zeroes) {
      // One aligned word: a kill leaves the old state or the new one.
      std::atomic_ref(newest->delta.state).store(delta.state, std::memory_order_release);
      return last;
    }
  }
  Entry* entry = EntryOf(last + 1);
  // Not an entry of any lap while the rest is written: acquire keeps what follows behind it.
  std::atomic_ref(entry->serial).exchange(0, std::memory_order_acq_rel);
  entry->delta = delta;
  std::atomic_ref(entry->serial).store(last + 1, std::memory_order_release);
  last_.store(last + 1, std::memory_order_release);
  return last + 1;
}

uint64_t PendingLog::Seal() {
  std::lock_guard lock(mutex_);
  sealed_ = last_.load(std::memory_order_relaxed);
  return sealed_;
}

void PendingLog::Read(uint64_t after, uint64_t through, std::vector<Delta>* out) const {
  out->reserve(out->size() + (through - after));
  for (uint64_t serial = after + 1; serial <= through; serial++) out->push_back(EntryOf(serial)->delta);
}

void PendingLog::Invalidate() {
  std::memset(header_->magic, 0, sizeof(header_->magic));
}

void PendingLog::SetDurable(uint64_t serial) {
  std::lock_guard lock(mutex_);
  StoreDurable(serial);
}

void PendingLog::SetDurableApart(uint64_t through, std::span<const uint64_t> serials) {
  std::lock_guard lock(mutex_);
  for (uint64_t serial : serials) std::atomic_ref(EntryOf(serial)->serial).store(0, std::memory_order_release);
  StoreDurable(through);
}

void PendingLog::StoreDurable(uint64_t serial) {
  durable_.store(serial, std::memory_order_release);
  std::atomic_ref(header_->durable_serial).store(serial, std::memory_order_release);
}

}  // namespace varve
