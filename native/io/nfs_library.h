// NfsLibrary: libnfs, loaded when the first NFS disk needs it.
//
// Only its raw calls are used: they say what was asked of the server and what it answered (how a write is kept, write
// verifiers), which the file-like ones hide. Nobody without an NFS disk needs the library.
// Thread: Load any; a context belongs to one loop.
#pragma once

#include <sys/time.h>

#include <nfsc/libnfs.h>
// After libnfs.h: they use its types.
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>
#include <nfsc/libnfs-raw-nfs4.h>
#include <nfsc/libnfs-raw-portmap.h>

#include <cstring>

#include "base/status.h"

namespace varve {

#define VARVE_NFS_FUNCTIONS(X)                                                                                    \
  X(rpc_init_context) X(rpc_destroy_context) X(rpc_get_fd) X(rpc_which_events) X(rpc_service)                     \
  X(rpc_connect_port_async) X(rpc_pmap2_getport_async) X(rpc_mount3_mnt_async) X(rpc_mount3_export_async)         \
  X(rpc_nfs3_lookup_async) X(rpc_nfs3_getattr_async) X(rpc_nfs3_fsinfo_async) X(rpc_nfs3_read_async) X(rpc_nfs3_write_async)                \
  X(rpc_nfs3_commit_async) X(rpc_nfs3_create_async) X(rpc_nfs3_setattr_async) X(rpc_nfs3_remove_async)            \
  X(rpc_nfs3_readdirplus_async) X(rpc_nfs4_compound_async)

struct NfsLibrary {
#define VARVE_NFS_MEMBER(name) decltype(&::name) name = nullptr;
  VARVE_NFS_FUNCTIONS(VARVE_NFS_MEMBER)
#undef VARVE_NFS_MEMBER

  // ENOPKG: there is no libnfs.so.13 (Debian package libnfs13), or a part of it is missing.
  static Status Load(const NfsLibrary** library);
};

// A copy of something libnfs decoded, which it does not align as its type wants.
template <typename T>
T Unaligned(const T* decoded) {
  T copy;
  memcpy(static_cast<void*>(&copy), static_cast<const void*>(decoded), sizeof copy);
  return copy;
}

// An enumeration that libnfs decoded, as the number that the server sent: it may be none of the enumerators.
template <typename Enumeration>
int NumberOf(const Enumeration& decoded) {
  static_assert(sizeof(Enumeration) == sizeof(int));
  int number;
  memcpy(&number, &decoded, sizeof number);
  return number;
}

}  // namespace varve
