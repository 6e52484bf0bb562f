// From a target's errno to the few error values that may be sent.
#pragma once

#include "nbd/protocol.h"

namespace varve::nbd {

// ENOSPC in any of its forms stays ENOSPC: QEMU pauses the guest instead of failing it.
// ENOTSUP means "zeroing is not fast" on the wire, so no target's ENOTSUP becomes it.
WireError WireErrorOf(int host_errno);

}  // namespace varve::nbd
