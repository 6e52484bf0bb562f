// Volumes' maps: regions, holds, heads, locks, re-pointing.
#include <cstring>
#include <memory>
#include <utility>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"
#include "volume/lock_op.h"
#include "volume/relocate_op.h"

namespace varve {
namespace {

Volume& VolumeAt(const Napi::CallbackInfo& info, size_t i) {
  return Runtime::Get().volumes.At(HandleAt(info, i))->volume();
}

// The words of a typed array, or null for what is not there.
template <typename Array, typename Word>
const Word* WordsOf(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  return value.IsTypedArray() ? reinterpret_cast<const Word*>(value.As<Array>().Data()) : nullptr;
}

constexpr size_t kSplitWords = 1 + 2 * kSubBlocksPerCluster;

std::vector<RegionAnswer::Split> SplitsOf(const Napi::Object& answer) {
  std::vector<RegionAnswer::Split> splits;
  Napi::Value value = answer.Get("splits");
  if (!value.IsTypedArray()) return splits;
  Napi::Uint32Array words = value.As<Napi::Uint32Array>();
  splits.resize(words.ElementLength() / kSplitWords);
  for (size_t i = 0; i < splits.size(); i++) {
    const uint32_t* from = words.Data() + i * kSplitWords;
    splits[i].slot_in_region = from[0];
    for (size_t sub = 0; sub < kSubBlocksPerCluster; sub++) {
      const uint32_t* address = from + 1 + 2 * sub;
      splits[i].sources[sub] = Address{static_cast<uint64_t>(address[1]) << 32 | address[0]};
    }
  }
  return splits;
}

void InstallRegion(const Napi::CallbackInfo& info) {
  Napi::Object from = info[2].As<Napi::Object>();
  RegionAnswer answer;
  answer.own = WordsOf<Napi::Uint32Array, uint64_t>(from, "own");
  answer.zeros = WordsOf<Napi::Uint16Array, uint16_t>(from, "zeros");
  answer.below = WordsOf<Napi::Uint32Array, uint64_t>(from, "below");
  answer.splits = SplitsOf(from);
  answer.empty_through = U64Of(from, "emptyThrough");
  answer.sequence = U64Of(from, "sequence");
  VolumeAt(info, 0).Install(U64At(info, 1), answer);
}

void RegionFailed(const Napi::CallbackInfo& info) { VolumeAt(info, 0).RegionFailed(U64At(info, 1)); }

void HoldVolume(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  VolumeAt(info, 1).Hold([token] { Runtime::Get().events().Done(token, Status::Ok()); });
}

void SwapHead(const Napi::CallbackInfo& info) {
  VolumeAt(info, 0).SwapHead(U64At(info, 1), info[2].As<Napi::Boolean>().Value());
}

void ResumeVolume(const Napi::CallbackInfo& info) { VolumeAt(info, 0).Unhold(); }

void SetCopyOnWrite(const Napi::CallbackInfo& info) {
  VolumeAt(info, 0).SetCopyOnWrite(info[1].As<Napi::Boolean>().Value());
}

void SetGrantGroup(const Napi::CallbackInfo& info) { VolumeAt(info, 0).SetGrantGroup(HandleAt(info, 1)); }

// Deletes itself when the lock is held, or refused.
struct ControlLock : Completion {
  explicit ControlLock(double token) : Completion(&OnDone), token(token) {}

  static void OnDone(Completion* self, Status status) {
    std::unique_ptr<ControlLock> lock(static_cast<ControlLock*>(self));
    Runtime::Get().events().Done(lock->token, status, 0, status.ok() ? lock->Answer() : std::vector<uint8_t>());
  }

  std::vector<uint8_t> Answer() const {
    const size_t states = request.states.size() * sizeof(SlotState);
    const size_t zeros = request.zeros.size() * sizeof(SlotMask);
    std::vector<uint8_t> bytes(states + zeros);
    std::memcpy(bytes.data(), request.states.data(), states);
    std::memcpy(bytes.data() + states, request.zeros.data(), zeros);
    return bytes;
  }

  double token;
  LockRequest request;
};

void LockSlots(const Napi::CallbackInfo& info) {
  std::shared_ptr<OpenVolume> open = Runtime::Get().volumes.At(HandleAt(info, 1));
  auto* lock = new ControlLock(NumberAt(info, 0));
  lock->request.first = U64At(info, 2);
  lock->request.count = U64At(info, 3);
  lock->request.loop = open->pool().home();
  lock->request.done = lock;
  lock->request.loop->Post([lock, open = std::move(open)] { open->volume().Lock(&lock->request); });
}

void UnlockSlots(const Napi::CallbackInfo& info) {
  const SlotIndex first = U64At(info, 1);
  Napi::Uint32Array words = info[3].As<Napi::Uint32Array>();
  std::vector<SlotPatch> patches;
  for (size_t i = 0; i + 3 < words.ElementLength(); i += 4) {
    const SlotState state{static_cast<uint64_t>(words[i + 2]) << 32 | words[i + 1]};
    patches.push_back({first + words[i], state, static_cast<SlotMask>(words[i + 3])});
  }
  VolumeAt(info, 0).Unlock(first, U64At(info, 2), patches, info[4].As<Napi::Boolean>().Value());
}

void FailSlot(const Napi::CallbackInfo& info) {
  VolumeAt(info, 0).FailLock(U64At(info, 1), Status(static_cast<int>(HandleAt(info, 2)), "copy on write"));
}

// Five numbers per move: slot, old disk and cluster, new disk and cluster.
std::vector<SlotMove> MovesOf(const Napi::Value& value) {
  Napi::Float64Array numbers = value.As<Napi::Float64Array>();
  auto address = [&numbers](size_t i) {
    return Address::Of(static_cast<unsigned>(numbers[i]), static_cast<uint64_t>(numbers[i + 1]));
  };
  std::vector<SlotMove> moves;
  for (size_t i = 0; i + 4 < numbers.ElementLength(); i += 5) {
    moves.push_back({static_cast<SlotIndex>(numbers[i]), address(i + 1), address(i + 3)});
  }
  return moves;
}

void Repoint(const Napi::CallbackInfo& info) { VolumeAt(info, 0).Repoint(MovesOf(info[1])); }

// Deletes itself when the relocation has ended.
struct ControlRelocation : Completion {
  explicit ControlRelocation(double token) : Completion(&OnDone), token(token) {}

  static void OnDone(Completion* self, Status status) {
    std::unique_ptr<ControlRelocation> relocation(static_cast<ControlRelocation*>(self));
    std::vector<uint8_t> outcomes;
    for (const Relocation& move : relocation->request.moves) outcomes.push_back(static_cast<uint8_t>(move.outcome));
    Runtime::Get().events().Done(relocation->token, status, 0, std::move(outcomes));
  }

  double token;
  RelocateRequest request;
};

void Relocate(const Napi::CallbackInfo& info) {
  std::shared_ptr<OpenVolume> open = Runtime::Get().volumes.At(HandleAt(info, 1));
  auto* relocation = new ControlRelocation(NumberAt(info, 0));
  for (const SlotMove& move : MovesOf(info[2])) relocation->request.moves.push_back({move.slot, move.from, move.to});
  relocation->request.hold_writers = info[3].As<Napi::Boolean>().Value();
  relocation->request.loop = open->pool().home();
  relocation->request.done = relocation;
  relocation->request.loop->Post([relocation, open = std::move(open)] { open->volume().Relocate(&relocation->request); });
}

}  // namespace

void ExportMapVerbs(Napi::Env env, Napi::Object exports) {
  exports.Set("installRegion", Napi::Function::New(env, InstallRegion));
  exports.Set("regionFailed", Napi::Function::New(env, RegionFailed));
  exports.Set("holdVolume", Napi::Function::New(env, HoldVolume));
  exports.Set("swapHead", Napi::Function::New(env, SwapHead));
  exports.Set("resumeVolume", Napi::Function::New(env, ResumeVolume));
  exports.Set("setCopyOnWrite", Napi::Function::New(env, SetCopyOnWrite));
  exports.Set("setGrantGroup", Napi::Function::New(env, SetGrantGroup));
  exports.Set("lockSlots", Napi::Function::New(env, LockSlots));
  exports.Set("unlockSlots", Napi::Function::New(env, UnlockSlots));
  exports.Set("failSlot", Napi::Function::New(env, FailSlot));
  exports.Set("repoint", Napi::Function::New(env, Repoint));
  exports.Set("relocate", Napi::Function::New(env, Relocate));
}

}  // namespace varve
