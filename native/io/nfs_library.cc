#include "io/nfs_library.h"

#include <dlfcn.h>

namespace varve {

namespace {

// Null when the library or one of its functions is not there.
const NfsLibrary* Open() {
  static NfsLibrary library;
  void* handle = dlopen("libnfs.so.13", RTLD_NOW | RTLD_LOCAL);
  if (!handle) return nullptr;
  bool whole = true;
#define VARVE_NFS_LOAD(name)                                                           \
  library.name = reinterpret_cast<decltype(library.name)>(dlsym(handle, #name));       \
  whole = whole && library.name != nullptr;
  VARVE_NFS_FUNCTIONS(VARVE_NFS_LOAD)
#undef VARVE_NFS_LOAD
  return whole ? &library : nullptr;
}

}  // namespace

Status NfsLibrary::Load(const NfsLibrary** library) {
  // Tried once: a library that is installed later is found at the next start.
  static const NfsLibrary* loaded = Open();
  if (!loaded) return Status(ENOPKG, "load libnfs.so.13 (Debian package libnfs13)");
  *library = loaded;
  return Status::Ok();
}

}  // namespace varve
