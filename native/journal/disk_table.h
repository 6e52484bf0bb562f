// DiskTable: the disks of one pool by number, and which hold writes not yet synced.
//
// Thread: any. A disk is added before anything on it can be reached, and removed when nothing on it can be any more, but for whoever was told of a
// place on it before: he asks by Hold, and is told that the disk is gone, or keeps it until he has ended.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "io/disk.h"

namespace varve {

class DiskTable {
 public:
  static constexpr unsigned kDisksMax = 256;  // the last is nobody's: kNowhere

  void Add(unsigned number, std::shared_ptr<Disk> disk) {
    std::lock_guard lock(mutex_);
    rows_[number].disk = std::move(disk);
  }
  // No request or round has the disk in hand. What was written to it is not synced any more.
  void Remove(unsigned number) {
    rows_[number].dirty.store(false);
    std::lock_guard lock(mutex_);
    rows_[number].disk = nullptr;
  }
  // By whoever knows that it is not removed meanwhile.
  Disk* at(unsigned number) const { return rows_[number].disk.get(); }
  // Null: there is none of that number any more.
  std::shared_ptr<Disk> Hold(unsigned number) const {
    std::lock_guard lock(mutex_);
    return rows_[number].disk;
  }

  // A write to the disk completed: the next round syncs it.
  void MarkDirty(unsigned number) {
    if (!rows_[number].dirty.load()) rows_[number].dirty.store(true);
  }

  // Numbers of the disks marked since the last call. A write that completes during the sync
  // that follows marks its disk again.
  std::vector<unsigned> TakeDirty() {
    std::vector<unsigned> numbers;
    for (unsigned n = 0; n < kDisksMax; n++) {
      if (rows_[n].dirty.load() && rows_[n].dirty.exchange(false)) numbers.push_back(n);
    }
    return numbers;
  }

 private:
  struct Row {
    std::shared_ptr<Disk> disk;
    std::atomic<bool> dirty{false};
  };
  mutable std::mutex mutex_;  // Row::disk, but for at()
  std::array<Row, kDisksMax> rows_;
};

}  // namespace varve
