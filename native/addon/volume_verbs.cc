// Volumes: open, close, and the control plane's own I/O. Elsewhere: their maps (map_verbs.cc).
#include <cstring>
#include <memory>
#include <utility>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"
#include "volume/copy_out.h"

namespace varve {
namespace {

Volume& VolumeAt(const Napi::CallbackInfo& info, size_t i) {
  return Runtime::Get().volumes.At(HandleAt(info, i))->volume();
}

// A request of the control plane; deletes itself when it has ended.
struct ControlRequest : Completion {
  ControlRequest(double token, BlockOp op) : Completion(&OnDone), token(token) { request.op = op; }

  static void OnDone(Completion* self, Status status) {
    std::unique_ptr<ControlRequest> done(static_cast<ControlRequest*>(self));
    Runtime::Get().events().Done(done->token, status, 0, status.ok() ? done->Answer() : std::vector<uint8_t>());
  }

  std::vector<uint8_t> Answer() {
    if (request.op == BlockOp::kRead) return std::move(data);
    std::vector<uint8_t> words;
    if (request.op != BlockOp::kBlockStatus) return words;
    for (const Extent& extent : request.extents) {
      const uint64_t pair[2] = {extent.length, extent.flags};
      const auto* bytes = reinterpret_cast<const uint8_t*>(pair);
      words.insert(words.end(), bytes, bytes + sizeof(pair));
    }
    return words;
  }

  void Submit(std::shared_ptr<OpenVolume> open) {
    request.data = reinterpret_cast<std::byte*>(data.data());
    request.loop = open->pool().home();
    request.done = this;
    request.loop->Post([this, open = std::move(open)] { open->volume().Submit(&request); });
  }

  double token;
  std::vector<uint8_t> data;
  BlockRequest request;
};

std::unique_ptr<ControlRequest> RequestOf(const Napi::CallbackInfo& info, BlockOp op) {
  return std::make_unique<ControlRequest>(NumberAt(info, 0), op);
}

void Submit(const Napi::CallbackInfo& info, std::unique_ptr<ControlRequest> request) {
  std::shared_ptr<OpenVolume> open = Runtime::Get().volumes.At(HandleAt(info, 1));
  request.release()->Submit(std::move(open));
}

void OpenVolumeVerb(const Napi::CallbackInfo& info) {
  Runtime& runtime = Runtime::Get();
  Napi::Object from = info[2].As<Napi::Object>();
  VolumeSpec spec;
  spec.layer = U64Of(from, "layer");
  spec.size_bytes = U64Of(from, "sizeBytes");
  spec.empty = FlagOf(from, "empty");
  spec.copy_on_write = FlagOf(from, "copyOnWrite");
  spec.grant_group = static_cast<unsigned>(U64Of(from, "grantGroup"));
  Handle handle = runtime.NextHandle();
  std::shared_ptr<OpenPool> pool = runtime.pools.At(HandleAt(info, 1));
  runtime.volumes.Put(
      handle, std::make_shared<OpenVolume>(handle, &runtime.events(), std::move(pool), spec, &runtime.map_budget()));
  runtime.events().Done(NumberAt(info, 0), Status::Ok(), handle);
}

// Ends after a round of the journal, so that every change of the volume was handed over before. The volume of
// a failed pool is closed all the same: the pool has said that it failed.
struct VolumeClose : Completion {
  VolumeClose(double token, Handle handle) : Completion(&OnRoundEnd), token(token), handle(handle) {}

  static void OnRoundEnd(Completion* self, Status) {
    std::unique_ptr<VolumeClose> close(static_cast<VolumeClose*>(self));
    Runtime::Get().events().Done(close->token, Status::Ok(), 0, {}, [handle = close->handle](Napi::Env, Napi::Object) {
      Runtime::Get().volumes.Remove(handle);
    });
  }

  double token;
  Handle handle;
  FlushWait wait;
};

void CloseVolume(const Napi::CallbackInfo& info) {
  Handle handle = HandleAt(info, 1);
  std::shared_ptr<OpenVolume> open = Runtime::Get().volumes.At(handle);
  auto* close = new VolumeClose(NumberAt(info, 0), handle);
  Pool* pool = &open->pool();
  // Behind the control plane's own requests, which are posted to the same loop.
  pool->home()->Post([close, pool, open = std::move(open)] {
    open->volume().Close([close, pool] {
      close->wait = {.round = pool->journal().Stamp(), .loop = pool->home(), .done = close};
      pool->journal().WaitForRound(&close->wait);
    });
  });
}

void ResizeVolume(const Napi::CallbackInfo& info) { VolumeAt(info, 0).Resize(U64At(info, 1)); }

void VolumeProvision(const Napi::CallbackInfo& info) {
  auto request = RequestOf(info, BlockOp::kWriteZeroes);
  request->request.no_hole = true;
  request->request.keeps_data = true;
  request->request.offset = U64At(info, 2);
  request->request.length = U64At(info, 3);
  Submit(info, std::move(request));
}

void VolumeRead(const Napi::CallbackInfo& info) {
  auto request = RequestOf(info, BlockOp::kRead);
  request->request.offset = U64At(info, 2);
  request->request.length = U64At(info, 3);
  request->data.resize(request->request.length);
  Submit(info, std::move(request));
}

void VolumeWrite(const Napi::CallbackInfo& info) {
  auto request = RequestOf(info, BlockOp::kWrite);
  request->request.offset = U64At(info, 2);
  request->data = BytesAt(info, 3);
  request->request.length = request->data.size();
  request->request.fua = info[4].As<Napi::Boolean>().Value();
  Submit(info, std::move(request));
}

void VolumeZero(const Napi::CallbackInfo& info) {
  bool trim = info[4].As<Napi::Boolean>().Value();
  auto request = RequestOf(info, trim ? BlockOp::kTrim : BlockOp::kWriteZeroes);
  request->request.offset = U64At(info, 2);
  request->request.length = U64At(info, 3);
  Submit(info, std::move(request));
}

void VolumeFlush(const Napi::CallbackInfo& info) { Submit(info, RequestOf(info, BlockOp::kFlush)); }

void VolumeMap(const Napi::CallbackInfo& info) {
  auto request = RequestOf(info, BlockOp::kBlockStatus);
  request->request.offset = U64At(info, 2);
  request->request.length = U64At(info, 3);
  Submit(info, std::move(request));
}

CopyOutMode CopyOutModeOf(const std::string& name) {
  if (name == "data") return CopyOutMode::kCopyData;
  return name == "compare" ? CopyOutMode::kCompare : CopyOutMode::kCopyAll;
}

void VolumeCopyOut(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  std::shared_ptr<OpenVolume> open = Runtime::Get().volumes.At(HandleAt(info, 1));
  CopyOutSpec spec;
  spec.source = std::shared_ptr<BlockTarget>(open, &open->volume());
  spec.disk = Runtime::Get().disks.At(HandleAt(info, 2));
  spec.offset = U64At(info, 3);
  spec.bytes = U64At(info, 4);
  spec.mode = CopyOutModeOf(info[5].As<Napi::String>().Utf8Value());
  CopyOut::Start(open->pool().home(), std::move(spec),
                 [token](Status status) { Runtime::Get().events().Done(token, status); });
}

Napi::Value VolumeStatsVerb(const Napi::CallbackInfo& info) {
  Volume& volume = VolumeAt(info, 0);
  const VolumeStats& stats = volume.stats();
  Napi::Object out = Napi::Object::New(info.Env());
  auto set = [&out](const char* name, uint64_t value) { out.Set(name, static_cast<double>(value)); };
  set("reads", stats.reads.load());
  set("writes", stats.writes.load());
  set("flushes", stats.flushes.load());
  set("discards", stats.discards.load());
  set("readBytes", stats.read_bytes.load());
  set("writeBytes", stats.write_bytes.load());
  set("discardBytes", stats.discard_bytes.load());
  set("errors", stats.errors.load());
  set("mapBytes", volume.map_bytes());
  return out;
}

}  // namespace

void ExportVolumeVerbs(Napi::Env env, Napi::Object exports) {
  exports.Set("openVolume", Napi::Function::New(env, OpenVolumeVerb));
  exports.Set("closeVolume", Napi::Function::New(env, CloseVolume));
  exports.Set("resizeVolume", Napi::Function::New(env, ResizeVolume));
  exports.Set("volumeProvision", Napi::Function::New(env, VolumeProvision));
  exports.Set("volumeRead", Napi::Function::New(env, VolumeRead));
  exports.Set("volumeWrite", Napi::Function::New(env, VolumeWrite));
  exports.Set("volumeZero", Napi::Function::New(env, VolumeZero));
  exports.Set("volumeFlush", Napi::Function::New(env, VolumeFlush));
  exports.Set("volumeMap", Napi::Function::New(env, VolumeMap));
  exports.Set("volumeCopyOut", Napi::Function::New(env, VolumeCopyOut));
  exports.Set("volumeStats", Napi::Function::New(env, VolumeStatsVerb));
}

}  // namespace varve
