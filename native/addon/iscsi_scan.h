// What a portal offers, for JavaScript: the verb scanIscsi of binding.ts.
#pragma once

#include <napi.h>

namespace varve {

void ScanIscsi(const Napi::CallbackInfo& info);

}  // namespace varve
