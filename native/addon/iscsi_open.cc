#include "addon/iscsi_open.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "io/iscsi_disk.h"

namespace varve {

namespace {

const char* NameOf(IscsiPath::State state) {
  switch (state) {
    case IscsiPath::State::kActive: return "active";
    case IscsiPath::State::kStandby: return "standby";
    case IscsiPath::State::kFailed: return "failed";
    case IscsiPath::State::kRefused: return "refused";
    default: return "unknown";
  }
}

std::string WhyOf(Status status) {
  return status.ok() ? std::string() : std::string(status.what()) + ": " + std::strerror(status.error());
}

void TellPaths(Handle disk, const std::vector<IscsiPath>& paths) {
  Runtime::Get().events().Push("disk-paths", [disk, paths](Napi::Env env, Napi::Object event) {
    Napi::Array told = Napi::Array::New(env, paths.size());
    for (uint32_t i = 0; i < paths.size(); i++) {
      Napi::Object path = Napi::Object::New(env);
      path.Set("portal", paths[i].portal);
      path.Set("state", NameOf(paths[i].state));
      path.Set("error", paths[i].why.error());
      path.Set("message", WhyOf(paths[i].why));
      told.Set(i, path);
    }
    event.Set("disk", disk);
    event.Set("paths", told);
  });
}

// Its size, and behind that its name in the world: the target's and the LUN's own, which need not be unique alone.
std::vector<uint8_t> Description(const IscsiTarget& target, const OpenedIscsiDisk& opened) {
  std::vector<uint8_t> data = U64Bytes(opened.disk->size_bytes());
  const std::string& own = opened.lun.designators;
  std::string identity = "iscsi:" + target.name + "/" + (own.empty() ? std::to_string(target.lun) : own);
  data.insert(data.end(), identity.begin(), identity.end());
  return data;
}

void Opened(double token, Handle handle, const IscsiTarget& target, Status status, OpenedIscsiDisk opened) {
  Runtime& runtime = Runtime::Get();
  if (!status.ok()) return runtime.events().Done(token, status);
  std::vector<uint8_t> description = Description(target, opened);
  runtime.events().Done(token, status, handle, std::move(description), [handle, disk = opened.disk](Napi::Env, Napi::Object) {
    Runtime::Get().AddDisk(handle, disk);
  });
}

}  // namespace

IscsiTarget IscsiTargetOf(const Napi::Object& spec) {
  IscsiTarget target;
  Napi::Array portals = spec.Get("portals").As<Napi::Array>();
  for (uint32_t i = 0; i < portals.Length(); i++) {
    Napi::Object portal = portals.Get(i).As<Napi::Object>();
    target.portals.push_back(StringOf(portal, "host") + ":" + std::to_string(U64Of(portal, "port")));
  }
  target.name = StringOf(spec, "target");
  target.lun = static_cast<uint32_t>(U64Of(spec, "lun"));
  target.initiator = StringOf(spec, "initiator");
  target.user = StringOf(spec, "user");
  target.secret = StringOf(spec, "secret");
  return target;
}

void OpenIscsi(double token, const Napi::Object& spec) {
  Runtime& runtime = Runtime::Get();
  Handle handle = runtime.NextHandle();
  // Each disk stays with one loop: spread over all.
  EventLoop* home = runtime.loops()[handle % runtime.loops().size()];
  IscsiCore::Options options;
  auto target = std::make_shared<IscsiTarget>(IscsiTargetOf(spec.Get("iscsi").As<Napi::Object>()));
  options.target = target;
  options.read_only = FlagOf(spec, "readOnly");
  options.on_paths = [handle](const std::vector<IscsiPath>& paths) { TellPaths(handle, paths); };
  OpenIscsiDisk(*home, std::move(options), [token, handle, target](Status status, OpenedIscsiDisk opened) {
    Opened(token, handle, *target, status, std::move(opened));
  });
}

}  // namespace varve
