// Errands on an NFS server beside a disk's reads and writes: making and removing a file, listing what is there.
//
// All of them speak version 3: version 4 has no list of exports, and makes files only for clients that keep state with it.
// Each runs on `loop`, blocks nothing, reports once from the loop and within 10 s (ETIMEDOUT). Errnos as NfsDisk::Open.
// Thread: any may call.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/event_loop.h"
#include "io/nfs_address.h"

namespace varve {

struct NfsEntry {
  std::string name;
  bool is_folder = false;
  uint64_t size_bytes = 0;
};
using NfsListed = std::function<void(Status, std::vector<NfsEntry>)>;

// Makes a sparse file that is not there yet (EEXIST); none is left when it fails.
void CreateNfsFile(EventLoop& loop, NfsAddress address, uint64_t size_bytes, std::function<void(Status)> done);
// A file that is not there is removed already.
void RemoveNfsFile(EventLoop& loop, NfsAddress address, std::function<void(Status)> done);
// Files and folders in the folder `address.path`.
void ListNfsFolder(EventLoop& loop, NfsAddress address, NfsListed done);
// The exports of the server, as folders.
void ListNfsExports(EventLoop& loop, NfsAddress address, NfsListed done);

}  // namespace varve
