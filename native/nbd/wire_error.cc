#include "nbd/wire_error.h"

#include <cerrno>

namespace varve::nbd {

WireError WireErrorOf(int host_errno) {
  switch (host_errno) {
    case EPERM:
    case EACCES:
    case EROFS:
      return WireError::kPermission;
    case ENOMEM:
      return WireError::kMemory;
    case EINVAL:
      return WireError::kInvalid;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return WireError::kNoSpace;
    case EOVERFLOW:
      return WireError::kOverflow;
    default:
      return WireError::kIo;
  }
}

}  // namespace varve::nbd
