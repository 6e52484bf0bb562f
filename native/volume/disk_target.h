// DiskTarget: a whole disk as it is, without a map: what a passthrough export serves.
//
// Guarantees: bytes go between the client's buffer and the disk without a copy. FLUSH is one sync of the disk, which covers
// every write completed before on any connection; FUA is the operation and a sync behind it. A failed sync
// stays failed, as io/disk.h says.
// Thread: any loop's.
// Elsewhere: who may open the disk (io/file_disk.h), what is refused to a read-only export (nbd/session.h).
#pragma once

#include <memory>
#include <utility>

#include "io/disk.h"
#include "volume/block_target.h"

namespace varve {

class DiskTarget final : public BlockTarget {
 public:
  explicit DiskTarget(std::shared_ptr<Disk> disk) : disk_(std::move(disk)) {}

  void Submit(BlockRequest* request) override;
  uint64_t size_bytes() const override { return disk_->size_bytes(); }
  // A page: what files and nearly all devices take without reading first.
  uint32_t preferred_block_bytes() const override { return 4096; }

 private:
  const std::shared_ptr<Disk> disk_;
};

}  // namespace varve
