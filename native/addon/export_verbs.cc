// Listeners, exports, clients.
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"

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

nbd::ContextList ContextsOf(const Napi::Object& spec) {
  nbd::ContextList contexts;
  Napi::Value value = spec.Get("contexts");
  if (!value.IsArray()) return contexts;
  Napi::Array list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length() && i < nbd::kContextsMax; i++) {
    Napi::Object from = list.Get(i).As<Napi::Object>();
    Napi::Float64Array runs = from.Get("runs").As<Napi::Float64Array>();
    auto context = std::make_shared<nbd::ChangedContext>();
    context->name = StringOf(from, "name");
    for (size_t at = 0; at + 1 < runs.ElementLength(); at += 2) {
      context->runs.push_back({static_cast<uint64_t>(runs[at]), static_cast<uint64_t>(runs[at + 1])});
    }
    contexts.push_back(std::move(context));
  }
  return contexts;
}

void AddExport(const Napi::CallbackInfo& info) {
  std::shared_ptr<OpenVolume> open = Runtime::Get().volumes.at(HandleAt(info, 0));
  Napi::Array listeners = info[1].As<Napi::Array>();
  Napi::Object from = info[2].As<Napi::Object>();
  nbd::ExportSpec spec;
  spec.name = StringOf(from, "name");
  spec.description = StringOf(from, "description");
  spec.read_only = FlagOf(from, "readOnly");
  spec.target = std::shared_ptr<BlockTarget>(open, &open->volume());
  spec.contexts = ContextsOf(from);
  for (uint32_t i = 0; i < listeners.Length(); i++) {
    spec.listeners.push_back(static_cast<nbd::ListenerId>(listeners.Get(i).As<Napi::Number>().DoubleValue()));
  }
  Status status = Runtime::Get().server().AddExport(std::move(spec));
  if (!status.ok()) Napi::Error::New(info.Env(), status.what()).ThrowAsJavaScriptException();
}

void RemoveExport(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  std::string name = info[1].As<Napi::String>().Utf8Value();
  Status status = Runtime::Get().server().RemoveExport(
      name, [token](unsigned clients) { Runtime::Get().events().Done(token, Status::Ok(), clients); });
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
  exports.Set("removeExport", Napi::Function::New(env, RemoveExport));
  exports.Set("clients", Napi::Function::New(env, Clients));
}

}  // namespace varve
