// Power cuts: what one leaves of recorded disks, as memory disks, looked at without a loop. Everything is done when a verb returns.
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"
#include "io/memory_disk.h"
#include "io/recording_disk.h"

namespace varve {
namespace {

constexpr uint64_t kSectorBytes = 512;

std::shared_ptr<MemoryDisk> MemoryOf(Handle handle) { return std::static_pointer_cast<MemoryDisk>(Runtime::Get().AsOpened(handle)); }

std::vector<std::shared_ptr<MemoryDisk>> MemoriesAt(const Napi::CallbackInfo& info, size_t i) {
  Napi::Uint32Array handles = info[i].As<Napi::Uint32Array>();
  std::vector<std::shared_ptr<MemoryDisk>> disks;
  for (size_t at = 0; at < handles.ElementLength(); at++) disks.push_back(MemoryOf(handles[at]));
  return disks;
}

Handle Add(std::shared_ptr<Disk> disk) {
  Runtime& runtime = Runtime::Get();
  Handle handle = runtime.NextHandle();
  runtime.AddDisk(handle, std::move(disk));
  return handle;
}

Napi::Value RecordingMoment(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(RecordingDisk::RecordCount()));
}

Napi::Value RecordingCut(const Napi::CallbackInfo& info) {
  auto recording = std::static_pointer_cast<RecordingDisk>(Runtime::Get().AsOpened(HandleAt(info, 0)));
  WriteLog::Choice choice(U64At(info, 2));
  choice.head_bytes = U64At(info, 3);
  choice.head_seed = U64At(info, 4);
  RecordingDisk::Left left = recording->Cut(U64At(info, 1), choice);
  Napi::Object cut = Napi::Object::New(info.Env());
  cut.Set("disk", Add(std::move(left.disk)));
  cut.Set("digest", Napi::BigInt::New(info.Env(), left.digest));
  return cut;
}

Napi::Value MemoryRead(const Napi::CallbackInfo& info) {
  auto data = Napi::Buffer<uint8_t>::New(info.Env(), U64At(info, 2));
  MemoryOf(HandleAt(info, 0))->ReadNow(U64At(info, 1), reinterpret_cast<std::byte*>(data.Data()), data.Length());
  return data;
}

void MemoryWrite(const Napi::CallbackInfo& info) {
  auto data = info[2].As<Napi::Uint8Array>();
  MemoryOf(HandleAt(info, 0))->WriteNow(U64At(info, 1), reinterpret_cast<const std::byte*>(data.Data()), data.ByteLength());
}

void MemoryClose(const Napi::CallbackInfo& info) { Runtime::Get().RemoveDisk(HandleAt(info, 0)); }

Napi::Value MemoryDigest(const Napi::CallbackInfo& info) {
  std::vector<std::shared_ptr<MemoryDisk>> disks = MemoriesAt(info, 0);
  Napi::Float64Array ranges = info[1].As<Napi::Float64Array>();
  uint64_t digest = 0;
  for (size_t at = 0; at + 2 < ranges.ElementLength(); at += 3) {
    auto offset = static_cast<uint64_t>(ranges[at + 1]), bytes = static_cast<uint64_t>(ranges[at + 2]);
    uint64_t of_range = disks.at(static_cast<size_t>(ranges[at]))->LookAt([offset, bytes](const SparseBytes& content) {
      return content.Digest(offset, bytes);
    });
    uint64_t pair[] = {digest, of_range};
    digest = XXH64(pair, sizeof(pair), 0);
  }
  return Napi::BigInt::New(info.Env(), digest);
}

Napi::Value MemoryLaidOver(const Napi::CallbackInfo& info) {
  SparseBytes content = MemoryOf(HandleAt(info, 1))->ShareNow();
  std::shared_ptr<MemoryDisk> over = MemoryOf(HandleAt(info, 0));
  Napi::Float64Array ranges = info[2].As<Napi::Float64Array>();
  std::vector<std::byte> bytes;
  for (size_t at = 0; at + 1 < ranges.ElementLength(); at += 2) {
    auto offset = static_cast<uint64_t>(ranges[at]);
    bytes.resize(static_cast<size_t>(ranges[at + 1]));
    over->ReadNow(offset, bytes.data(), bytes.size());
    content.Write(offset, bytes.data(), bytes.size());
  }
  return Napi::Number::New(info.Env(), Add(std::make_shared<MemoryDisk>(over->size_bytes(), std::move(content))));
}

// Compares what a map shows with what is expected, sector by sector, and collects what is different.
class Comparison {
 public:
  Comparison(const uint8_t* expected, uint64_t sectors) : expected_(expected), sectors_(sectors) {}

  // `data` is shown at `bytes` of sectors from there on; null = zeroes.
  void Show(uint64_t offset, const std::byte* data, uint64_t bytes) {
    static const std::byte zeroes[kSectorBytes]{};
    if (data != nullptr && memcmp(expected_ + offset, data, bytes) == 0) return;
    for (uint64_t at = 0; at < bytes; at += kSectorBytes) {
      const std::byte* sector = data == nullptr ? zeroes : data + at;
      if (memcmp(expected_ + offset + at, sector, kSectorBytes) == 0) continue;
      differing.push_back(static_cast<uint32_t>((offset + at) / kSectorBytes));
      const auto* from = reinterpret_cast<const uint8_t*>(sector);
      shown.insert(shown.end(), from, from + kSectorBytes);
    }
  }
  void ShowZeroesUpTo(uint64_t sector) {
    if (sector > next_) Show(next_ * kSectorBytes, nullptr, (sector - next_) * kSectorBytes);
    next_ = std::max(next_, sector);
  }
  void ShowRun(uint64_t sector, MemoryDisk& disk, uint64_t place, uint64_t count) {
    ShowZeroesUpTo(sector);
    disk.LookAt([&](const SparseBytes& content) {
      content.VisitPieces(place * kSectorBytes, count * kSectorBytes,
                          [&](uint64_t position, const std::byte* data, uint64_t bytes) {
                            Show(sector * kSectorBytes + position, data, bytes);
                          });
    });
    next_ = sector + count;
  }
  void Finish() { ShowZeroesUpTo(sectors_); }

  std::vector<uint32_t> differing;
  std::vector<uint8_t> shown;

 private:
  const uint8_t* const expected_;
  const uint64_t sectors_;
  uint64_t next_ = 0;
};

Napi::Value MemoryDiffering(const Napi::CallbackInfo& info) {
  std::vector<std::shared_ptr<MemoryDisk>> disks = MemoriesAt(info, 0);
  Napi::Uint32Array runs = info[1].As<Napi::Uint32Array>();
  Napi::Uint8Array expected = info[2].As<Napi::Uint8Array>();
  Comparison comparison(expected.Data(), expected.ElementLength() / kSectorBytes);
  for (size_t at = 0; at + 3 < runs.ElementLength(); at += 4) {
    comparison.ShowRun(runs[at], *disks.at(runs[at + 1]), runs[at + 2], runs[at + 3]);
  }
  comparison.Finish();
  if (comparison.differing.empty()) return info.Env().Null();
  Napi::Object found = Napi::Object::New(info.Env());
  auto sectors = Napi::Uint32Array::New(info.Env(), comparison.differing.size());
  std::copy(comparison.differing.begin(), comparison.differing.end(), sectors.Data());
  found.Set("sectors", sectors);
  found.Set("bytes", Napi::Buffer<uint8_t>::Copy(info.Env(), comparison.shown.data(), comparison.shown.size()));
  return found;
}

}  // namespace

void ExportPowerCutVerbs(Napi::Env env, Napi::Object exports) {
  exports.Set("recordingMoment", Napi::Function::New(env, RecordingMoment));
  exports.Set("recordingCut", Napi::Function::New(env, RecordingCut));
  exports.Set("memoryRead", Napi::Function::New(env, MemoryRead));
  exports.Set("memoryWrite", Napi::Function::New(env, MemoryWrite));
  exports.Set("memoryClose", Napi::Function::New(env, MemoryClose));
  exports.Set("memoryDigest", Napi::Function::New(env, MemoryDigest));
  exports.Set("memoryLaidOver", Napi::Function::New(env, MemoryLaidOver));
  exports.Set("memoryDiffering", Napi::Function::New(env, MemoryDiffering));
}

}  // namespace varve
