// Opening what other NBD servers export.
#pragma once

#include <napi.h>

namespace varve {

// spec: DiskSpec of binding.ts, of kind nbd.
void OpenClient(double token, const Napi::Object& spec);

}  // namespace varve
