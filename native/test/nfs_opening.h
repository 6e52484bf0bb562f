// Opening an NFS disk in a test, and waiting for it.
#pragma once

#include <future>
#include <memory>

#include "io/nfs_disk.h"

namespace varve {

struct NfsOpening {
  Status status;
  std::shared_ptr<NfsDisk> disk;
};

inline NfsOpening OpenNfsDisk(EventLoop& home, const NfsAddress& address, NfsDisk::Access access = {}) {
  std::promise<NfsOpening> opened;
  NfsDisk::Open(home, address, access, [&](Status status, std::shared_ptr<NfsDisk> disk) {
    opened.set_value({status, std::move(disk)});
  });
  return opened.get_future().get();
}

}  // namespace varve
