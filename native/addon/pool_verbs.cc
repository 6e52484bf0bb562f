// Pools: open, journal, grants.
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"
#include "volume/cluster_copy.h"
#include "volume/cluster_hash.h"

namespace varve {
namespace {

// A flush the control plane asks for; deletes itself.
struct ControlFlush : Completion {
  explicit ControlFlush(double token) : Completion(&OnDone), token(token) {}
  static void OnDone(Completion* self, Status status) {
    std::unique_ptr<ControlFlush> flush(static_cast<ControlFlush*>(self));
    Runtime::Get().events().Done(flush->token, status);
  }
  double token;
  FlushWait wait;
};

JournalSpec JournalSpecOf(const Napi::Object& pool) {
  JournalSpec spec = {};
  Napi::Object journal = pool.Get("journal").As<Napi::Object>();
  std::memcpy(spec.pool_uuid, pool.Get("uuid").As<Napi::Uint8Array>().Data(), sizeof(spec.pool_uuid));
  spec.epoch = U64Of(pool, "epoch");
  Napi::Array replicas = journal.Get("replicas").As<Napi::Array>();
  for (uint32_t i = 0; i < replicas.Length(); i++) {
    Napi::Object replica = replicas.Get(i).As<Napi::Object>();
    spec.replicas.push_back({static_cast<unsigned>(U64Of(replica, "number")), U64Of(replica, "offset")});
  }
  spec.ring_bytes = U64Of(journal, "bytes");
  spec.head = U64Of(journal, "head");
  spec.tail = U64Of(journal, "tail");
  spec.sequence = U64Of(journal, "sequence");
  spec.pending_log_path = StringOf(pool, "pendingLogPath");
  spec.window_ms = static_cast<unsigned>(U64Of(pool, "flushWindowMs"));
  return spec;
}

void OpenPoolVerb(const Napi::CallbackInfo& info) {
  Runtime& runtime = Runtime::Get();
  Napi::Object spec = info[1].As<Napi::Object>();
  Handle handle = runtime.NextHandle();
  std::vector<EventLoop*> loops = runtime.loops();
  EventLoop* home = loops[handle % loops.size()];
  auto open = std::make_shared<OpenPool>(handle, &runtime.events(), loops, home,
                                         static_cast<unsigned>(U64Of(spec, "clusterBytes")));
  Napi::Array disks = spec.Get("disks").As<Napi::Array>();
  for (uint32_t i = 0; i < disks.Length(); i++) {
    Napi::Object disk = disks.Get(i).As<Napi::Object>();
    open->pool().AddDisk(static_cast<unsigned>(U64Of(disk, "number")),
                         runtime.disks.At(static_cast<Handle>(U64Of(disk, "handle"))));
  }
  Status status = open->pool().Open(JournalSpecOf(spec));
  if (status.ok()) runtime.pools.Put(handle, open);
  runtime.events().Done(NumberAt(info, 0), status, handle);
}

void AddPoolDisk(const Napi::CallbackInfo& info) {
  Runtime& runtime = Runtime::Get();
  runtime.pools.At(HandleAt(info, 0))->pool().AddDisk(HandleAt(info, 2), runtime.disks.At(HandleAt(info, 1)));
}

void RemovePoolDisk(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Runtime::Get().pools.At(HandleAt(info, 1))->pool().RemoveDisk(HandleAt(info, 2), [token] {
    Runtime::Get().events().Done(token, Status::Ok());
  });
}

void BeginReplica(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Runtime::Get().pools.At(HandleAt(info, 1))->pool().journal().BeginReplica({HandleAt(info, 2), U64At(info, 3)}, [token](Status status) {
    Runtime::Get().events().Done(token, status);
  });
}

void EndReplica(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  std::shared_ptr<OpenPool> open = Runtime::Get().pools.Find(HandleAt(info, 1));
  // Closed meanwhile: no ring is written any more.
  if (open == nullptr) return Runtime::Get().events().Done(token, Status::Ok());
  open->pool().journal().EndReplica(HandleAt(info, 2), [token] {
    Runtime::Get().events().Done(token, Status::Ok());
  });
}

// The pool's loop still has what JavaScript said until it was told of the end: that is refused and waited for, and then the pool goes,
// on its loop and behind everything that names it there.
void LetGo(std::shared_ptr<OpenPool> open, double token) {
  Pool& pool = open->pool();
  pool.Stop(Status(ESHUTDOWN, "pool"), false);
  pool.Close([open = std::move(open), token]() mutable {
    EventLoop* home = open->pool().home();
    home->Post([open = std::move(open), token]() mutable {
      open.reset();
      Runtime::Get().events().Done(token, Status::Ok());
    });
  });
}

// Until `pool-closed` is told JavaScript speaks to the pool, which may need room in the journal.
void ClosePool(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Handle handle = HandleAt(info, 1);
  Runtime::Get().pools.At(handle)->pool().Close([token, handle] {
    Runtime::Get().events().PushChange("pool-closed", [token, handle](Napi::Env, Napi::Object event) {
      event.Set("pool", handle);
      LetGo(Runtime::Get().pools.Take(handle), token);
    });
  });
}

void JournalAppend(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  auto kind = static_cast<RecordKind>(HandleAt(info, 2));
  Runtime::Get().pools.At(HandleAt(info, 1))->pool().journal().AppendRecord(
      kind, BytesAt(info, 3), static_cast<uint64_t>(token), [token](Status status, uint64_t sequence) {
        Runtime::Get().events().Done(token, status, static_cast<double>(sequence));
      });
}

void JournalTrim(const Napi::CallbackInfo& info) {
  Runtime::Get().pools.At(HandleAt(info, 0))->pool().journal().Trim(U64At(info, 1));
}

void Grant(const Napi::CallbackInfo& info) {
  Napi::Float64Array words = info[1].As<Napi::Float64Array>();
  std::vector<ClusterRun> runs;
  for (size_t i = 0; i + 2 < words.ElementLength(); i += 3) {
    runs.push_back({static_cast<unsigned>(words[i]), static_cast<uint64_t>(words[i + 1]),
                    static_cast<uint64_t>(words[i + 2])});
  }
  Runtime::Get().pools.At(HandleAt(info, 0))->pool().grants(HandleAt(info, 2)).Add(runs);
}

Napi::Value RunsValue(Napi::Env env, const std::vector<ClusterRun>& runs) {
  Napi::Float64Array words = Napi::Float64Array::New(env, 3 * runs.size());
  for (size_t i = 0; i < runs.size(); i++) {
    words[3 * i] = runs[i].disk;
    words[3 * i + 1] = static_cast<double>(runs[i].first);
    words[3 * i + 2] = static_cast<double>(runs[i].count);
  }
  return words;
}

Napi::Value TakeBackDisk(const Napi::CallbackInfo& info) {
  Runtime& runtime = Runtime::Get();
  Pool* pool = &runtime.pools.At(HandleAt(info, 0))->pool();
  const unsigned disk = HandleAt(info, 1);
  std::vector<ClusterRun> runs = pool->TakeBackOn(disk);
  for (auto& [handle, open] : runtime.volumes) {
    if (&open->pool() != pool) continue;
    ClusterRun share = open->volume().TakeBackOn(disk);
    if (share.count != 0) runs.push_back(share);
  }
  return RunsValue(info.Env(), runs);
}

void GrantExhausted(const Napi::CallbackInfo& info) {
  Runtime::Get().pools.At(HandleAt(info, 0))->pool().grants(HandleAt(info, 1))
      .SetExhausted(info[2].As<Napi::Boolean>() ? Shortage::kHold : Shortage::kRefuse);
}

Napi::Value HeldWriters(const Napi::CallbackInfo& info) {
  const uint64_t count = Runtime::Get().pools.At(HandleAt(info, 0))->pool().HeldWriters();
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

void FailPool(const Napi::CallbackInfo& info) {
  std::shared_ptr<OpenPool> open = Runtime::Get().pools.Find(HandleAt(info, 0));
  if (open == nullptr) return;  // closed meanwhile: it writes nothing either
  Status status(static_cast<int>(HandleAt(info, 1)), "control plane");
  open->pool().Stop(status, info[2].As<Napi::Boolean>());
}

void PoolFlush(const Napi::CallbackInfo& info) {
  Pool& pool = Runtime::Get().pools.At(HandleAt(info, 1))->pool();
  auto* flush = new ControlFlush(NumberAt(info, 0));
  flush->wait.round = pool.journal().Stamp();
  flush->wait.loop = pool.home();
  flush->wait.done = flush;
  pool.journal().WaitForRound(&flush->wait);
}

void SetCopyEffort(const Napi::CallbackInfo& info) {
  Runtime::Get().pools.At(HandleAt(info, 0))->pool().SetGentleCopies(info[1].As<Napi::Boolean>());
}

void CopyRuns(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Pool& source = Runtime::Get().pools.At(HandleAt(info, 1))->pool();
  Pool& target = Runtime::Get().pools.At(HandleAt(info, 2))->pool();
  Napi::Float64Array numbers = info[3].As<Napi::Float64Array>();
  std::vector<CopyRun> runs;
  for (size_t i = 0; i + 4 < numbers.ElementLength(); i += 5) {
    runs.push_back({static_cast<unsigned>(numbers[i]), static_cast<uint64_t>(numbers[i + 1]),
                    static_cast<unsigned>(numbers[i + 2]), static_cast<uint64_t>(numbers[i + 3]),
                    static_cast<uint64_t>(numbers[i + 4])});
  }
  ClusterCopy::Start(&source, &target, target.home(), runs,
                     [token](Status status) { Runtime::Get().events().Done(token, status); });
}

// A hash and an errno of each.
std::vector<uint8_t> HashBytes(const std::vector<ClusterToHash>& clusters) {
  std::vector<uint64_t> words;
  for (const ClusterToHash& cluster : clusters) {
    words.push_back(cluster.hash);
    words.push_back(static_cast<uint64_t>(cluster.error));
  }
  std::vector<uint8_t> bytes(words.size() * sizeof(uint64_t));
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

void HashClusters(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Pool& pool = Runtime::Get().pools.At(HandleAt(info, 1))->pool();
  Napi::Float64Array numbers = info[2].As<Napi::Float64Array>();
  std::vector<ClusterToHash> clusters;
  for (size_t i = 0; i + 2 < numbers.ElementLength(); i += 3) {
    const Address address = Address::Of(static_cast<unsigned>(numbers[i]), static_cast<uint64_t>(numbers[i + 1]));
    clusters.push_back({address, static_cast<SlotMask>(numbers[i + 2])});
  }
  ClusterHashing::Start(&pool, pool.home(), std::move(clusters), [token](const std::vector<ClusterToHash>& hashed) {
    Runtime::Get().events().Done(token, Status::Ok(), 0, HashBytes(hashed));
  });
}

// Kind by kind: the count of each bucket, then the seconds of all together.
Napi::Value PoolLatencies(const Napi::CallbackInfo& info) {
  const Latencies::Reading reading = Runtime::Get().pools.At(HandleAt(info, 0))->pool().latencies().Read();
  Napi::Float64Array numbers = Napi::Float64Array::New(info.Env(), Latencies::kKinds * (Latencies::kBuckets + 1));
  size_t at = 0;
  for (size_t kind = 0; kind < Latencies::kKinds; kind++) {
    for (uint64_t count : reading.counts[kind]) numbers[at++] = static_cast<double>(count);
    numbers[at++] = static_cast<double>(reading.nanoseconds[kind]) * 1e-9;
  }
  return numbers;
}

Napi::Value LatencyBounds(const Napi::CallbackInfo& info) {
  Napi::Float64Array bounds = Napi::Float64Array::New(info.Env(), Latencies::kBuckets);
  for (size_t i = 0; i < Latencies::kBuckets; i++) bounds[i] = Latencies::BoundSeconds(i);
  return bounds;
}

void Grace(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Runtime::Get().pools.At(HandleAt(info, 1))->pool().AfterAdmitted([token] {
    Runtime::Get().events().Done(token, Status::Ok());
  });
}

}  // namespace

void ExportPoolVerbs(Napi::Env env, Napi::Object exports) {
  exports.Set("openPool", Napi::Function::New(env, OpenPoolVerb));
  exports.Set("addPoolDisk", Napi::Function::New(env, AddPoolDisk));
  exports.Set("removePoolDisk", Napi::Function::New(env, RemovePoolDisk));
  exports.Set("beginReplica", Napi::Function::New(env, BeginReplica));
  exports.Set("endReplica", Napi::Function::New(env, EndReplica));
  exports.Set("closePool", Napi::Function::New(env, ClosePool));
  exports.Set("journalAppend", Napi::Function::New(env, JournalAppend));
  exports.Set("journalTrim", Napi::Function::New(env, JournalTrim));
  exports.Set("grant", Napi::Function::New(env, Grant));
  exports.Set("takeBackDisk", Napi::Function::New(env, TakeBackDisk));
  exports.Set("grantExhausted", Napi::Function::New(env, GrantExhausted));
  exports.Set("heldWriters", Napi::Function::New(env, HeldWriters));
  exports.Set("failPool", Napi::Function::New(env, FailPool));
  exports.Set("poolFlush", Napi::Function::New(env, PoolFlush));
  exports.Set("poolLatencies", Napi::Function::New(env, PoolLatencies));
  exports.Set("latencyBounds", Napi::Function::New(env, LatencyBounds));
  exports.Set("setCopyEffort", Napi::Function::New(env, SetCopyEffort));
  exports.Set("copyRuns", Napi::Function::New(env, CopyRuns));
  exports.Set("hashClusters", Napi::Function::New(env, HashClusters));
  exports.Set("grace", Napi::Function::New(env, Grace));
}

}  // namespace varve
