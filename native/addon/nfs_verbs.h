// Opening disks on NFS servers.
#pragma once

#include <napi.h>

namespace varve {

// spec: DiskSpec of binding.ts, of kind nfs.
void OpenNfs(double token, const Napi::Object& spec);

}  // namespace varve
