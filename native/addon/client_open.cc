#include "addon/client_open.h"

#include <memory>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "nbd/client_disk.h"

namespace varve {

void OpenClient(double token, const Napi::Object& spec) {
  Runtime& runtime = Runtime::Get();
  const Handle handle = runtime.NextHandle();
  // Each disk stays with one loop: spread over all.
  EventLoop* home = runtime.loops()[handle % runtime.loops().size()];
  const auto opened = [token, handle](Status status, std::shared_ptr<nbd::ClientDisk> disk) {
    EventQueue& events = Runtime::Get().events();
    if (!status.ok()) return events.Done(token, status);
    std::vector<uint8_t> size = U64Bytes(disk->size_bytes());
    events.Done(token, status, handle, std::move(size),
                [handle, disk](Napi::Env, Napi::Object) { Runtime::Get().AddDisk(handle, disk); });
  };
  const std::string path = StringOf(spec, "path");
  if (!spec.Has("sizeBytes")) return nbd::ClientDisk::Open(*home, path, "", opened);
  opened(Status::Ok(), nbd::ClientDisk::OpenLater(*home, path, "", U64Of(spec, "sizeBytes")));
}

}  // namespace varve
