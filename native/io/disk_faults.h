// Which errors of a disk may pass, and which are its last word.
//
// Pure. Elsewhere: waiting for them to pass (patient_disk.h).
#pragma once

#include <cerrno>

#include "io/disk_request.h"

namespace varve {

// The disk could not be reached, or its server knows it no longer: it is somewhere, and may answer again.
constexpr bool IsConnectionError(int error) {
  switch (error) {
    case ENOTCONN:
    case ETIMEDOUT:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case EPIPE:
    case ENOLINK:
    case ESTALE: return true;
    default: return false;
  }
}

// The disk was reached and refused. Somebody may make room, allow it, or plug it in again.
constexpr bool IsRefusal(int error) {
  switch (error) {
    case EIO:
    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case EACCES:
    case EPERM:
    case ENXIO:
    case ENODEV:
    case EAGAIN: return true;
    default: return false;
  }
}

// Whether the operation may be submitted again.
//
// A sync that a disk refused is final: the kernel may have dropped what it could not write, and the next one would
// report success for it. A sync that never reached a disk which keeps what is not synced was not performed.
// A discard that was refused has done no harm.
constexpr bool IsRetryable(DiskOp op, int error, bool keeps_unsynced) {
  switch (op) {
    case DiskOp::kRead:
    case DiskOp::kWrite:
    case DiskOp::kZero: return IsConnectionError(error) || IsRefusal(error);
    case DiskOp::kDiscard: return IsConnectionError(error);
    case DiskOp::kSync: return keeps_unsynced && IsConnectionError(error);
  }
  return false;
}

}  // namespace varve
