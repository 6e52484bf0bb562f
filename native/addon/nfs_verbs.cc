// NFS: disks, and errands beside them. Each waits on a loop, none on JavaScript's thread.
#include "addon/nfs_verbs.h"

#include <memory>
#include <utility>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"
#include "io/nfs_disk.h"
#include "io/nfs_errand.h"

namespace varve {
namespace {

NfsAddress AddressOf(const Napi::Object& spec) {
  NfsAddress address;
  address.host = StringOf(spec, "host");
  address.path = StringOf(spec, "path");
  address.version = static_cast<int>(U64Of(spec, "version"));
  address.nfs_port = static_cast<int>(U64Of(spec, "nfsPort"));
  address.mount_port = static_cast<int>(U64Of(spec, "mountPort"));
  return address;
}

NfsAddress AddressAt(const Napi::CallbackInfo& info, size_t i) { return AddressOf(info[i].As<Napi::Object>()); }

// u64 LE size, then the identity.
std::vector<uint8_t> Described(const NfsDisk& disk) {
  std::vector<uint8_t> data = U64Bytes(disk.size_bytes());
  data.insert(data.end(), disk.identity().begin(), disk.identity().end());
  return data;
}

// Per entry: 1 when a folder, u64 LE size, the name, a zero byte.
std::vector<uint8_t> Encoded(const std::vector<NfsEntry>& entries) {
  std::vector<uint8_t> data;
  for (const NfsEntry& entry : entries) {
    std::vector<uint8_t> size = U64Bytes(entry.size_bytes);
    data.push_back(entry.is_folder ? 1 : 0);
    data.insert(data.end(), size.begin(), size.end());
    data.insert(data.end(), entry.name.begin(), entry.name.end());
    data.push_back(0);
  }
  return data;
}

std::function<void(Status)> Ends(double token) {
  return [token](Status status) { Runtime::Get().events().Done(token, status); };
}

NfsListed Lists(double token) {
  return [token](Status status, std::vector<NfsEntry> entries) {
    Runtime::Get().events().Done(token, status, 0, Encoded(entries));
  };
}

void CreateFile(const Napi::CallbackInfo& info) {
  CreateNfsFile(Runtime::Get().control_loop(), AddressAt(info, 1), U64At(info, 2), Ends(NumberAt(info, 0)));
}

void RemoveFile(const Napi::CallbackInfo& info) {
  RemoveNfsFile(Runtime::Get().control_loop(), AddressAt(info, 1), Ends(NumberAt(info, 0)));
}

void ListExports(const Napi::CallbackInfo& info) {
  ListNfsExports(Runtime::Get().control_loop(), AddressAt(info, 1), Lists(NumberAt(info, 0)));
}

void ListFolder(const Napi::CallbackInfo& info) {
  ListNfsFolder(Runtime::Get().control_loop(), AddressAt(info, 1), Lists(NumberAt(info, 0)));
}

}  // namespace

void OpenNfs(double token, const Napi::Object& spec) {
  Runtime& runtime = Runtime::Get();
  Handle handle = runtime.NextHandle();
  // The disks are spread over the loops, each lives on one.
  std::vector<EventLoop*> loops = runtime.loops();
  NfsDisk::Access access{FlagOf(spec, "readOnly"), FlagOf(spec, "alone")};
  auto opened = [token, handle](Status status, std::shared_ptr<NfsDisk> disk) {
    EventQueue& events = Runtime::Get().events();
    if (!status.ok()) return events.Done(token, status);
    std::vector<uint8_t> described = Described(*disk);
    events.Done(token, status, handle, std::move(described),
                [handle, disk](Napi::Env, Napi::Object) { Runtime::Get().AddDisk(handle, disk); });
  };
  NfsDisk::Open(*loops[handle % loops.size()], AddressOf(spec.Get("nfs").As<Napi::Object>()), access, std::move(opened));
}

void ExportNfsVerbs(Napi::Env env, Napi::Object exports) {
  exports.Set("createNfsFile", Napi::Function::New(env, CreateFile));
  exports.Set("removeNfsFile", Napi::Function::New(env, RemoveFile));
  exports.Set("listNfsExports", Napi::Function::New(env, ListExports));
  exports.Set("listNfsFolder", Napi::Function::New(env, ListFolder));
}

}  // namespace varve
