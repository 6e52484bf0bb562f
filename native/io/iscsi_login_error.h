// What libiscsi's sentence about a failed connection or login means.
#pragma once

#include "base/status.h"

namespace varve {

// text: what iscsi_get_error() says, with the login status or errno at its end: libiscsi tells them nowhere else.
// EACCES, ENOENT: the target refuses. Else one of ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ETIMEDOUT, ENOTCONN.
Status LoginError(const char* text);

}  // namespace varve
