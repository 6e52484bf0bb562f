// DiskRounds: which round of the journal has to end for what one volume changed on each disk to be durable.
//
// A flush need not wait for a disk that the volume has nothing new on.
// Thread: any; Note() by one thread at a time.
// Elsewhere: who compares it with the disks that are behind (data_syncs.h).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "journal/disk_table.h"

namespace varve {

class DiskRounds {
 public:
  void Note(unsigned disk, uint64_t round) {
    if (rounds_[disk].load(std::memory_order_relaxed) != round) rounds_[disk].store(round, std::memory_order_relaxed);
  }
  // The newest one noted; 0: none.
  uint64_t of(unsigned disk) const { return rounds_[disk].load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, DiskTable::kDisksMax> rounds_{};
};

}  // namespace varve
