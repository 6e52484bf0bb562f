// Disks: open, the control plane's own I/O on them, and what tests need of them.
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include "addon/arguments.h"
#include "addon/client_open.h"
#include "addon/iscsi_open.h"
#include "addon/iscsi_scan.h"
#include "addon/nfs_verbs.h"
#include "addon/runtime.h"
#include "addon/verbs.h"
#include "io/absent_disk.h"
#include "io/fault_disk.h"
#include "io/file_disk.h"
#include "io/gated_disk.h"
#include "io/memory_disk.h"
#include "io/patient_disk.h"
#include "io/recording_disk.h"

namespace varve {
namespace {

// Reports an opened disk: its handle and its size.
void DiskOpened(double token, Handle handle, std::shared_ptr<Disk> disk) {
  uint64_t size_bytes = disk->size_bytes();
  Runtime& runtime = Runtime::Get();
  runtime.AddDisk(handle, std::move(disk));
  runtime.events().Done(token, Status::Ok(), handle, U64Bytes(size_bytes));
}

void DiskOpened(double token, std::shared_ptr<Disk> disk) {
  DiskOpened(token, Runtime::Get().NextHandle(), std::move(disk));
}

// Opening a file may wait for its server: not on JavaScript's thread.
struct FileOpen : Completion {
  FileOpen(double token, const Napi::Object& spec)
      : Completion(&OnOpened),
        token(token),
        path(StringOf(spec, "path")),
        read_only(FlagOf(spec, "readOnly")),
        sharing(FlagOf(spec, "alone") ? Sharing::kNobody : Sharing::kReaders) {}

  static void OnOpened(Completion* self, Status status) {
    std::unique_ptr<FileOpen> open(static_cast<FileOpen*>(self));
    Runtime& runtime = Runtime::Get();
    if (!status.ok()) return runtime.events().Done(open->token, status);
    Handle handle = open->handle;
    runtime.events().Done(open->token, status, handle, U64Bytes(open->disk->size_bytes()),
                          [handle, disk = open->disk](Napi::Env, Napi::Object) { Runtime::Get().AddDisk(handle, disk); });
  }

  double token;
  std::string path;
  bool read_only;
  Sharing sharing;
  Handle handle = 0;
  std::shared_ptr<Disk> disk;
};

void OpenFile(double token, const Napi::Object& spec) {
  Runtime& runtime = Runtime::Get();
  auto* open = new FileOpen(token, spec);
  open->handle = runtime.NextHandle();
  EventLoop* loop = &runtime.control_loop();
  loop->Post([loop, open] {
    loop->RunBlocking([open] { return OpenFileDisk(open->path, open->read_only, &open->disk, open->sharing); }, open);
  });
}

const char* NameOf(DiskState state) {
  if (state == DiskState::kOnline) return "online";
  return state == DiskState::kSuspended ? "suspended" : "failed";
}

void SetCondition(Napi::Object object, const DiskCondition& condition) {
  object.Set("state", NameOf(condition.state));
  object.Set("error", condition.error);
  object.Set("message", condition.error == 0 ? "" : std::string(condition.what) + ": " + std::strerror(condition.error));
  object.Set("failingMs", static_cast<double>(condition.failing.count()));
  object.Set("patienceLeftMs", static_cast<double>(condition.patience_left.count()));
  object.Set("held", static_cast<double>(condition.held));
}

void OpenPatient(double token, const Napi::Object& spec) {
  Runtime& runtime = Runtime::Get();
  Handle handle = runtime.NextHandle();
  PatientPolicy policy;
  policy.patience = std::chrono::milliseconds(U64Of(spec, "patienceMs"));
  auto report = [handle, &events = runtime.events()](const DiskCondition& condition) {
    events.Push("disk-condition", [handle, condition](Napi::Env, Napi::Object event) {
      event.Set("disk", handle);
      SetCondition(event, condition);
    });
  };
  std::shared_ptr<Disk> inner = runtime.disks.At(static_cast<Handle>(U64Of(spec, "inner")));
  DiskOpened(token, handle, PatientDisk::Create(std::move(inner), &runtime.control_loop(), policy, report));
}

void OpenGated(double token, const Napi::Object& spec) {
  Runtime& runtime = Runtime::Get();
  Handle handle = runtime.NextHandle();
  std::shared_ptr<Disk> inner = runtime.disks.At(static_cast<Handle>(U64Of(spec, "inner")));
  DiskOpened(token, handle, std::make_shared<GatedDisk>(std::move(inner), &runtime.gate(), handle));
}

void OpenDisk(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Napi::Object spec = info[1].As<Napi::Object>();
  std::string kind = StringOf(spec, "kind");
  if (kind == "file") return OpenFile(token, spec);
  if (kind == "nfs") return OpenNfs(token, spec);
  if (kind == "patient") return OpenPatient(token, spec);
  if (kind == "memory") return DiskOpened(token, std::make_shared<MemoryDisk>(U64Of(spec, "sizeBytes")));
  if (kind == "absent") return DiskOpened(token, std::make_shared<AbsentDisk>(U64Of(spec, "sizeBytes")));
  if (kind == "recording") return DiskOpened(token, std::make_shared<RecordingDisk>(U64Of(spec, "sizeBytes")));
  if (kind == "iscsi") return OpenIscsi(token, spec);
  if (kind == "nbd") return OpenClient(token, spec);
  if (kind == "gated") return OpenGated(token, spec);
  if (kind != "fault") return Runtime::Get().events().Done(token, Status(ENOTSUP, "disks of this kind"));
  DiskOpened(token, std::make_shared<FaultDisk>(Runtime::Get().disks.At(static_cast<Handle>(U64Of(spec, "inner")))));
}

void CloseDisk(const Napi::CallbackInfo& info) {
  Runtime::Get().RemoveDisk(HandleAt(info, 1));
  Runtime::Get().events().Done(NumberAt(info, 0), Status::Ok());
}

// One operation of the control plane on a disk; deletes itself when it has ended.
struct ControlIo : Completion {
  ControlIo(double token, std::shared_ptr<Disk> disk) : Completion(&OnDone), token(token), disk(std::move(disk)) {}

  static void OnDone(Completion* self, Status status) {
    ControlIo* io = static_cast<ControlIo*>(self);
    if (status.ok() && !io->runs.empty()) return io->DiscardNext();
    std::unique_ptr<ControlIo> done(io);
    Runtime::Get().events().Done(io->token, status, 0, status.ok() && io->wants_data ? std::move(io->data) : std::vector<uint8_t>());
  }

  void DiscardNext() {
    auto [offset, bytes] = runs.back();
    runs.pop_back();
    disk->Discard(Runtime::Get().control_loop(), offset, bytes, this);
  }

  void SetData(std::vector<uint8_t> bytes) {
    data = std::move(bytes);
    iov = {data.data(), data.size()};
  }

  double token;
  std::shared_ptr<Disk> disk;
  std::vector<uint8_t> data;
  bool wants_data = false;
  iovec iov{};
  std::vector<std::pair<uint64_t, uint64_t>> runs;  // still to be discarded
};

ControlIo* IoOf(const Napi::CallbackInfo& info) {
  return new ControlIo(NumberAt(info, 0), Runtime::Get().disks.At(HandleAt(info, 1)));
}

void DiskRead(const Napi::CallbackInfo& info) {
  ControlIo* io = IoOf(info);
  uint64_t offset = U64At(info, 2);
  io->SetData(std::vector<uint8_t>(U64At(info, 3)));
  io->wants_data = true;
  EventLoop& loop = Runtime::Get().control_loop();
  loop.Post([io, offset, &loop] { io->disk->Read(loop, offset, &io->iov, 1, io); });
}

void DiskWrite(const Napi::CallbackInfo& info) {
  ControlIo* io = IoOf(info);
  uint64_t offset = U64At(info, 2);
  io->SetData(BytesAt(info, 3));
  EventLoop& loop = Runtime::Get().control_loop();
  loop.Post([io, offset, &loop] { io->disk->Write(loop, offset, &io->iov, 1, io); });
}

void DiskSync(const Napi::CallbackInfo& info) {
  ControlIo* io = IoOf(info);
  EventLoop& loop = Runtime::Get().control_loop();
  loop.Post([io, &loop] { io->disk->Sync(loop, io); });
}

void DiskDiscard(const Napi::CallbackInfo& info) {
  ControlIo* io = IoOf(info);
  Napi::Float64Array words = info[2].As<Napi::Float64Array>();
  for (size_t i = 0; i + 1 < words.ElementLength(); i += 2) {
    io->runs.emplace_back(static_cast<uint64_t>(words[i]), static_cast<uint64_t>(words[i + 1]));
  }
  Runtime::Get().control_loop().Post([io] { ControlIo::OnDone(io, Status::Ok()); });
}

void DiskZero(const Napi::CallbackInfo& info) {
  ControlIo* io = IoOf(info);
  uint64_t offset = U64At(info, 2), bytes = U64At(info, 3);
  EventLoop& loop = Runtime::Get().control_loop();
  loop.Post([io, offset, bytes, &loop] { io->disk->WriteZeroes(loop, offset, bytes, io); });
}

// A search; deletes itself when it has ended.
struct ControlSearch : Completion {
  ControlSearch(double token, std::shared_ptr<Disk> disk) : Completion(&OnDone), token(token), disk(std::move(disk)) {}

  static void OnDone(Completion* self, Status status) {
    std::unique_ptr<ControlSearch> done(static_cast<ControlSearch*>(self));
    std::vector<uint8_t> words;
    for (const DataRun& run : done->search.runs) {
      for (uint64_t word : {run.offset, run.bytes}) {
        const std::vector<uint8_t> bytes = U64Bytes(word);
        words.insert(words.end(), bytes.begin(), bytes.end());
      }
    }
    Runtime::Get().events().Done(done->token, status, static_cast<double>(done->search.bytes), std::move(words));
  }

  double token;
  std::shared_ptr<Disk> disk;
  DataSearch search;
};

void DiskFindData(const Napi::CallbackInfo& info) {
  auto* find = new ControlSearch(NumberAt(info, 0), Runtime::Get().disks.At(HandleAt(info, 1)));
  find->search.offset = U64At(info, 2);
  find->search.bytes = U64At(info, 3);
  EventLoop& loop = Runtime::Get().control_loop();
  loop.Post([find, &loop] { find->disk->FindData(loop, &find->search, find); });
}

// How large a disk is now, for the control plane; deletes itself.
struct ControlMeasure : Completion {
  ControlMeasure(double token, std::shared_ptr<Disk> disk) : Completion(&OnDone), token(token), disk(std::move(disk)) {}
  static void OnDone(Completion* self, Status status) {
    std::unique_ptr<ControlMeasure> measure(static_cast<ControlMeasure*>(self));
    Runtime::Get().events().Done(measure->token, status, static_cast<double>(measure->bytes));
  }
  double token;
  std::shared_ptr<Disk> disk;
  uint64_t bytes = 0;
};

void DiskMeasure(const Napi::CallbackInfo& info) {
  auto* measure = new ControlMeasure(NumberAt(info, 0), Runtime::Get().disks.At(HandleAt(info, 1)));
  EventLoop& loop = Runtime::Get().control_loop();
  loop.Post([measure, &loop] { measure->disk->Measure(loop, &measure->bytes, measure); });
}

std::shared_ptr<PatientDisk> PatientAt(const Napi::CallbackInfo& info) {
  return std::static_pointer_cast<PatientDisk>(Runtime::Get().AsOpened(HandleAt(info, 0)));
}

void DiskPatience(const Napi::CallbackInfo& info) { PatientAt(info)->SetPatience(std::chrono::milliseconds(U64At(info, 1))); }

void DiskSurrender(const Napi::CallbackInfo& info) { PatientAt(info)->Surrender(); }

Napi::Value DiskConditionVerb(const Napi::CallbackInfo& info) {
  Napi::Object condition = Napi::Object::New(info.Env());
  SetCondition(condition, PatientAt(info)->condition());
  return condition;
}

// Without: any other name stands for each operation.
std::optional<DiskOp> FaultyOpOf(const std::string& name) {
  if (name == "read") return DiskOp::kRead;
  if (name == "write") return DiskOp::kWrite;
  if (name == "sync") return DiskOp::kSync;
  if (name == "discard") return DiskOp::kDiscard;
  if (name == "zero") return DiskOp::kZero;
  return std::nullopt;
}

FaultKind FaultKindOf(const std::string& name) {
  if (name == "delay") return FaultKind::kDelay;
  if (name == "short") return FaultKind::kShort;
  if (name == "hang") return FaultKind::kHang;
  if (name == "lie") return FaultKind::kLie;
  return name == "flip" ? FaultKind::kFlip : FaultKind::kError;
}

void FaultSet(const Napi::CallbackInfo& info) {
  auto disk = std::static_pointer_cast<FaultDisk>(Runtime::Get().AsOpened(HandleAt(info, 0)));
  Napi::Array from = info[1].As<Napi::Array>();
  std::vector<FaultRule> rules;
  for (uint32_t i = 0; i < from.Length(); i++) {
    Napi::Object object = from.Get(i).As<Napi::Object>();
    FaultRule rule;
    rule.op = FaultyOpOf(StringOf(object, "op"));
    rule.kind = FaultKindOf(StringOf(object, "kind"));
    if (object.Has("error")) rule.error = static_cast<int>(U64Of(object, "error"));
    if (object.Has("after")) rule.after = U64Of(object, "after");
    if (object.Has("times")) rule.times = U64Of(object, "times");
    if (object.Has("delayMs")) rule.delay = std::chrono::milliseconds(U64Of(object, "delayMs"));
    rules.push_back(rule);
  }
  disk->Set(std::move(rules));
}

}  // namespace

void ExportDiskVerbs(Napi::Env env, Napi::Object exports) {
  exports.Set("openDisk", Napi::Function::New(env, OpenDisk));
  exports.Set("scanIscsi", Napi::Function::New(env, ScanIscsi));
  exports.Set("diskMeasure", Napi::Function::New(env, DiskMeasure));
  exports.Set("diskPatience", Napi::Function::New(env, DiskPatience));
  exports.Set("diskSurrender", Napi::Function::New(env, DiskSurrender));
  exports.Set("diskCondition", Napi::Function::New(env, DiskConditionVerb));
  exports.Set("closeDisk", Napi::Function::New(env, CloseDisk));
  exports.Set("diskRead", Napi::Function::New(env, DiskRead));
  exports.Set("diskWrite", Napi::Function::New(env, DiskWrite));
  exports.Set("diskSync", Napi::Function::New(env, DiskSync));
  exports.Set("diskDiscard", Napi::Function::New(env, DiskDiscard));
  exports.Set("diskZero", Napi::Function::New(env, DiskZero));
  exports.Set("diskFindData", Napi::Function::New(env, DiskFindData));
  exports.Set("faultSet", Napi::Function::New(env, FaultSet));
}

}  // namespace varve
