// The addon: start and stop, and the verbs of binding.ts.
#include <napi.h>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"

namespace varve {
namespace {

// Raised when a verb or an event changes its shape; binding.ts compares.
constexpr int kAbi = 10;

LoopBackend BackendOf(const std::string& name) {
  if (name == "io_uring") return LoopBackend::kUring;
  if (name == "simulated") return LoopBackend::kSimulated;
  return name == "epoll" ? LoopBackend::kEpoll : LoopBackend::kAuto;
}

Napi::Value Start(const Napi::CallbackInfo& info) {
  Napi::Object options = info[0].As<Napi::Object>();
  Runtime& runtime = Runtime::Get();
  std::string error = "already started";
  if (!runtime.started() &&
      runtime.Start(BackendOf(StringOf(options, "backend")), static_cast<unsigned>(U64Of(options, "loops")),
                    U64Of(options, "bufferBytes"), U64Of(options, "mapBytes"), &error)) {
    Napi::Function on_events = info[1].As<Napi::Function>();
    if (runtime.simulated_loops().empty()) runtime.events().Open(info.Env(), on_events);
    else runtime.events().OpenSimulated(on_events);
    return Napi::String::New(info.Env(), runtime.control_loop().backend());
  }
  Napi::Error::New(info.Env(), error).ThrowAsJavaScriptException();
  return info.Env().Undefined();
}

void Stop(const Napi::CallbackInfo&) { Runtime::Get().Stop(); }

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("abi", kAbi);
  exports.Set("start", Napi::Function::New(env, Start));
  exports.Set("stop", Napi::Function::New(env, Stop));
  ExportDiskVerbs(env, exports);
  ExportNfsVerbs(env, exports);
  ExportLeaseVerbs(env, exports);
  ExportPoolVerbs(env, exports);
  ExportVolumeVerbs(env, exports);
  ExportMapVerbs(env, exports);
  ExportExportVerbs(env, exports);
  ExportSuccessionVerbs(env, exports);
  ExportPowerCutVerbs(env, exports);
  ExportSimulationVerbs(env, exports);
  return exports;
}

NODE_API_MODULE(varve, Init)

}  // namespace
}  // namespace varve
