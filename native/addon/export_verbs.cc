// Listeners, exports, clients.
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"
#include "volume/disk_target.h"

namespace varve {
namespace {

void Listen(const Napi::CallbackInfo& info) {
  Napi::Object spec = info[1].As<Napi::Object>();
  nbd::ListenAddress address;
  address.path = StringOf(spec, "path");
  address.host = StringOf(spec, "host");
  if (spec.Get("port").IsNumber()) address.port = static_cast<uint16_t>(U64Of(spec, "port"));
  nbd::ListenerId id = 0;
  uint16_t port = 0;
  Status status = Runtime::Get().server().AddListener(address, &id, &port);
  Runtime::Get().events().Done(NumberAt(info, 0), status, static_cast<double>(id), U64Bytes(port));
}

void CloseListener(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Status status = Runtime::Get().server().CloseListener(
      U64At(info, 1), [token] { Runtime::Get().events().Done(token, Status::Ok()); });
  if (!status.ok()) Runtime::Get().events().Done(token, status);
}

nbd::ChangedRuns RunsOf(Napi::Float64Array from) {
  std::vector<nbd::ChangedRun> runs(from.ElementLength() / 2);
  for (size_t i = 0; i < runs.size(); i++) {
    runs[i] = {static_cast<uint64_t>(from[2 * i]), static_cast<uint64_t>(from[2 * i + 1])};
  }
  return std::make_shared<const std::vector<nbd::ChangedRun>>(std::move(runs));
}

// One list of runs under several names, the usual case, is kept once.
nbd::ChangedContexts ContextsOf(Napi::Value value) {
  if (!value.IsArray()) return nullptr;
  Napi::Array from = value.As<Napi::Array>();
  std::vector<nbd::ChangedContext> contexts;
  Napi::Value last;
  for (uint32_t i = 0; i < from.Length(); i++) {
    Napi::Object context = from.Get(i).As<Napi::Object>();
    Napi::Value runs = context.Get("runs");
    const bool same = !last.IsEmpty() && runs.StrictEquals(last);
    contexts.push_back({StringOf(context, "name"),
                        same ? contexts.back().runs : RunsOf(runs.As<Napi::Float64Array>())});
    last = runs;
  }
  return std::make_shared<const std::vector<nbd::ChangedContext>>(std::move(contexts));
}

void Serve(const Napi::CallbackInfo& info, std::shared_ptr<BlockTarget> target) {
  Napi::Array listeners = info[1].As<Napi::Array>();
  Napi::Object from = info[2].As<Napi::Object>();
  nbd::ExportSpec spec;
  spec.name = StringOf(from, "name");
  spec.description = StringOf(from, "description");
  spec.identity = StringOf(from, "identity");
  spec.read_only = FlagOf(from, "readOnly");
  spec.contexts = ContextsOf(from.Get("contexts"));
  spec.target = std::move(target);
  for (uint32_t i = 0; i < listeners.Length(); i++) {
    spec.listeners.push_back(static_cast<nbd::ListenerId>(listeners.Get(i).As<Napi::Number>().DoubleValue()));
  }
  Status status = Runtime::Get().server().AddExport(std::move(spec));
  if (!status.ok()) Napi::Error::New(info.Env(), status.what()).ThrowAsJavaScriptException();
}

void AddExport(const Napi::CallbackInfo& info) {
  std::shared_ptr<OpenVolume> open = Runtime::Get().volumes.At(HandleAt(info, 0));
  Serve(info, std::shared_ptr<BlockTarget>(open, &open->volume()));
}

void AddDiskExport(const Napi::CallbackInfo& info) {
  Serve(info, std::make_shared<DiskTarget>(Runtime::Get().disks.At(HandleAt(info, 0))));
}

void RemoveExport(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  std::string name = info[1].As<Napi::String>().Utf8Value();
  nbd::Parting parting = info[2].As<Napi::Boolean>() ? nbd::Parting::kAbort : nbd::Parting::kDrain;
  Status status = Runtime::Get().server().RemoveExport(
      name, parting, [token](unsigned clients) { Runtime::Get().events().Done(token, Status::Ok(), clients); });
  if (!status.ok()) Runtime::Get().events().Done(token, status);
}

void PauseExport(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Status status = Runtime::Get().server().PauseExport(
      info[1].As<Napi::String>().Utf8Value(), [token] { Runtime::Get().events().Done(token, Status::Ok()); });
  if (!status.ok()) Runtime::Get().events().Done(token, status);
}

void ResumeExport(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  std::shared_ptr<BlockTarget> target;
  if (info[2].IsNumber()) {
    std::shared_ptr<OpenVolume> open = Runtime::Get().volumes.At(HandleAt(info, 2));
    target = std::shared_ptr<BlockTarget>(open, &open->volume());
  }
  Status status = Runtime::Get().server().ResumeExport(
      info[1].As<Napi::String>().Utf8Value(), std::move(target),
      [token] { Runtime::Get().events().Done(token, Status::Ok()); });
  if (!status.ok()) Runtime::Get().events().Done(token, status);
}

Napi::Value Clients(const Napi::CallbackInfo& info) {
  Napi::Array out = Napi::Array::New(info.Env());
  for (const nbd::ClientStats& client : Runtime::Get().server().ListClients()) {
    Napi::Object row = Napi::Object::New(info.Env());
    auto set = [&row](const char* name, uint64_t value) { row.Set(name, static_cast<double>(value)); };
    auto since = std::chrono::duration_cast<std::chrono::milliseconds>(client.connected_at.time_since_epoch());
    row.Set("export", client.export_name);
    row.Set("address", client.address);
    set("client", client.client);
    set("connectedAtMs", static_cast<uint64_t>(since.count()));
    set("reads", client.reads);
    set("writes", client.writes);
    set("readBytes", client.read_bytes);
    set("writeBytes", client.write_bytes);
    set("inFlight", client.in_flight);
    out.Set(out.Length(), row);
  }
  return out;
}

}  // namespace

void ExportExportVerbs(Napi::Env env, Napi::Object exports) {
  exports.Set("listen", Napi::Function::New(env, Listen));
  exports.Set("closeListener", Napi::Function::New(env, CloseListener));
  exports.Set("addExport", Napi::Function::New(env, AddExport));
  exports.Set("addDiskExport", Napi::Function::New(env, AddDiskExport));
  exports.Set("removeExport", Napi::Function::New(env, RemoveExport));
  exports.Set("pauseExport", Napi::Function::New(env, PauseExport));
  exports.Set("resumeExport", Napi::Function::New(env, ResumeExport));
  exports.Set("clients", Napi::Function::New(env, Clients));
}

}  // namespace varve
