// Leases, and the labels that carry their heartbeats.
#include <memory>
#include <utility>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"

namespace varve {
namespace {

constexpr double kNsPerMs = 1e6;

uint64_t NanosecondsAt(const Napi::CallbackInfo& info, size_t i) {
  return static_cast<uint64_t>(NumberAt(info, i) * kNsPerMs);
}

Lease& LeaseAt(const Napi::CallbackInfo& info, size_t i) { return *Runtime::Get().leases.At(HandleAt(info, i)); }

Napi::Value BootTimeMs(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(BootNanoseconds()) / kNsPerMs);
}

Napi::Value OpenLease(const Napi::CallbackInfo& info) {
  Runtime& runtime = Runtime::Get();
  Handle handle = runtime.NextHandle();
  runtime.leases.Put(handle, std::make_shared<Lease>(NanosecondsAt(info, 0)));
  return Napi::Number::New(info.Env(), handle);
}

void LeaseDisk(const Napi::CallbackInfo& info) {
  Runtime& runtime = Runtime::Get();
  runtime.leased_disks.At(HandleAt(info, 1))->SetLease(runtime.leases.At(HandleAt(info, 0)));
}

void RenewLease(const Napi::CallbackInfo& info) { LeaseAt(info, 0).Renew(NanosecondsAt(info, 1)); }

void EndLease(const Napi::CallbackInfo& info) {
  bool fenced = info[1].As<Napi::Boolean>();
  LeaseAt(info, 0).Finish(fenced ? Lease::End::kFenced : Lease::End::kFailed);
}

// Its disks keep what they need of it.
void CloseLease(const Napi::CallbackInfo& info) { Runtime::Get().leases.Remove(HandleAt(info, 0)); }

// A write of a label and the sync behind it; deletes itself when both have ended.
struct LabelWrite : Completion {
  LabelWrite(double token, std::shared_ptr<LeasedDisk> disk, std::vector<uint8_t> label)
      : Completion(&OnEnd), token(token), disk(std::move(disk)), label(std::move(label)) {}

  static void OnEnd(Completion* self, Status status) {
    LabelWrite* write = static_cast<LabelWrite*>(self);
    if (status.ok() && !std::exchange(write->written, true)) {
      return write->disk->SyncLabel(Runtime::Get().control_loop(), write);
    }
    std::unique_ptr<LabelWrite> done(write);
    Runtime::Get().events().Done(done->token, status);
  }

  double token;
  std::shared_ptr<LeasedDisk> disk;
  std::vector<uint8_t> label;
  iovec iov{};
  bool written = false;
};

void DiskWriteLabel(const Napi::CallbackInfo& info) {
  auto* write = new LabelWrite(NumberAt(info, 0), Runtime::Get().leased_disks.At(HandleAt(info, 1)), BytesAt(info, 3));
  write->iov = {write->label.data(), write->label.size()};
  uint64_t offset = U64At(info, 2);
  uint64_t until_ns = NanosecondsAt(info, 4);
  EventLoop& loop = Runtime::Get().control_loop();
  loop.Post([write, offset, until_ns, &loop] { write->disk->WriteLabel(loop, offset, &write->iov, until_ns, write); });
}

}  // namespace

void ExportLeaseVerbs(Napi::Env env, Napi::Object exports) {
  exports.Set("bootTimeMs", Napi::Function::New(env, BootTimeMs));
  exports.Set("openLease", Napi::Function::New(env, OpenLease));
  exports.Set("leaseDisk", Napi::Function::New(env, LeaseDisk));
  exports.Set("renewLease", Napi::Function::New(env, RenewLease));
  exports.Set("endLease", Napi::Function::New(env, EndLease));
  exports.Set("closeLease", Napi::Function::New(env, CloseLease));
  exports.Set("diskWriteLabel", Napi::Function::New(env, DiskWriteLabel));
}

}  // namespace varve
