// NfsErrno: the statuses of NFS as host errnos.
#include <cerrno>

#include "io/nfs_protocol.h"

namespace varve {

int NfsErrno(int status) {
  switch (status) {
    case NFS3ERR_NAMETOOLONG: return ENAMETOOLONG;
    case NFS3ERR_NOTEMPTY: return ENOTEMPTY;
    case NFS3ERR_DQUOT: return EDQUOT;
    // The handle leads nowhere any more; looking the file up again may help.
    case NFS3ERR_STALE:
    case NFS3ERR_BADHANDLE:
    case NFS4ERR_FHEXPIRED: return ESTALE;
    case NFS3ERR_NOTSUPP: return EOPNOTSUPP;
    // "Come again later": as good as no answer.
    case NFS3ERR_JUKEBOX:
    case NFS4ERR_GRACE: return ETIMEDOUT;
    case NFS3ERR_SERVERFAULT: return EIO;
    case NFS4ERR_WRONGSEC: return EACCES;
    default: break;
  }
  // The small ones are Linux's own numbers.
  return status > 0 && status < 40 ? status : (status == 0 ? 0 : EIO);
}

}  // namespace varve
