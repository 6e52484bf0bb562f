// Opening iSCSI disks for JavaScript, and telling it the states of their paths.
#pragma once

#include <napi.h>

#include "io/iscsi_address.h"

namespace varve {

// spec: IscsiSpec of binding.ts.
IscsiTarget IscsiTargetOf(const Napi::Object& spec);

// spec: IscsiSpec of binding.ts, inside of a DiskSpec. Ends with the verb's `done`, as other disks' opening does; `disk-paths`
// events may come before that and afterwards.
void OpenIscsi(double token, const Napi::Object& spec);

}  // namespace varve
