#include "io/nfs_protocol.h"

#include "io/nfs_v3.h"
#include "io/nfs_v4.h"

namespace varve {

NfsProtocol& NfsProtocolOf(const NfsLibrary& library, int version) {
  static NfsV3 v3(library);
  static NfsV4 v4(library);
  if (version == 4) return v4;
  return v3;
}

}  // namespace varve
