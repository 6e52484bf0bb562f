// The verbs of binding.ts, by what they act on. JavaScript's thread: decode, enqueue, return; never wait.
#pragma once

#include <napi.h>

namespace varve {

void ExportDiskVerbs(Napi::Env env, Napi::Object exports);
void ExportNfsVerbs(Napi::Env env, Napi::Object exports);
void ExportLeaseVerbs(Napi::Env env, Napi::Object exports);
void ExportPoolVerbs(Napi::Env env, Napi::Object exports);
void ExportVolumeVerbs(Napi::Env env, Napi::Object exports);
void ExportMapVerbs(Napi::Env env, Napi::Object exports);
void ExportExportVerbs(Napi::Env env, Napi::Object exports);
void ExportSuccessionVerbs(Napi::Env env, Napi::Object exports);
void ExportPowerCutVerbs(Napi::Env env, Napi::Object exports);
void ExportSimulationVerbs(Napi::Env env, Napi::Object exports);

}  // namespace varve
