// Looking for iSCSI disks for JavaScript.
#include "addon/iscsi_scan.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/iscsi_open.h"
#include "addon/runtime.h"
#include "io/iscsi_discovery.h"

namespace varve {

namespace {

std::string Reason(Status status) { return status.ok() ? std::string() : status.what(); }

Napi::Object LunObject(Napi::Env env, const FoundLun& found) {
  Napi::Object lun = Napi::Object::New(env);
  lun.Set("lun", found.number);
  lun.Set("error", found.status.error());
  lun.Set("message", Reason(found.status));
  lun.Set("sizeBytes", static_cast<double>(found.status.ok() ? found.lun.size_bytes() : 0));
  lun.Set("thin", found.lun.thin());
  lun.Set("readOnly", found.lun.mode.write_protected);
  lun.Set("vendor", found.lun.inquiry.vendor);
  lun.Set("product", found.lun.inquiry.product);
  return lun;
}

Napi::Object TargetObject(Napi::Env env, const FoundTarget& found) {
  Napi::Object target = Napi::Object::New(env);
  target.Set("target", found.name);
  target.Set("error", found.status.error());
  target.Set("message", Reason(found.status));
  Napi::Array portals = Napi::Array::New(env);
  for (uint32_t i = 0; i < found.portals.size(); i++) portals.Set(i, found.portals[i]);
  target.Set("portals", portals);
  Napi::Array luns = Napi::Array::New(env);
  for (uint32_t i = 0; i < found.luns.size(); i++) luns.Set(i, LunObject(env, found.luns[i]));
  target.Set("luns", luns);
  return target;
}

void Found(double token, Status status, std::vector<FoundTarget> targets) {
  Runtime::Get().events().Done(token, status, 0, {}, [targets = std::move(targets)](Napi::Env env, Napi::Object event) {
    Napi::Array told = Napi::Array::New(env);
    for (uint32_t i = 0; i < targets.size(); i++) told.Set(i, TargetObject(env, targets[i]));
    event.Set("targets", told);
  });
}

}  // namespace

void ScanIscsi(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  IscsiTarget seeker = IscsiTargetOf(info[1].As<Napi::Object>());
  DiscoverIscsi(Runtime::Get().control_loop(), std::move(seeker), [token](Status status, std::vector<FoundTarget> targets) {
    Found(token, status, std::move(targets));
  });
}

}  // namespace varve
