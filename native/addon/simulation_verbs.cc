// Simulation: turns, time, events and gated operations of a data plane whose loops are simulated (tools/simulate).
#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"
#include "base/boot_clock.h"

namespace varve {
namespace {

constexpr double kNsPerMs = 1e6;

const char* NameOf(DiskOp op) {
  switch (op) {
    case DiskOp::kRead: return "read";
    case DiskOp::kWrite: return "write";
    case DiskOp::kSync: return "sync";
    case DiskOp::kDiscard: return "discard";
    case DiskOp::kZero: break;
  }
  return "zero";
}

Napi::Array BusyLoops(Napi::Env env) {
  Napi::Array busy = Napi::Array::New(env);
  for (SimulatedLoop* loop : Runtime::Get().simulated_loops()) {
    if (loop->HasWork()) busy.Set(busy.Length(), Napi::Number::New(env, static_cast<double>(loop->ordinal)));
  }
  return busy;
}

Napi::Array WaitingOperations(Napi::Env env) {
  const std::vector<Gate::Waiting> waiting = Runtime::Get().gate().waiting();
  Napi::Array all = Napi::Array::New(env, waiting.size());
  for (uint32_t i = 0; i < waiting.size(); i++) {
    Napi::Object operation = Napi::Object::New(env);
    operation.Set("id", static_cast<double>(waiting[i].id));
    operation.Set("disk", waiting[i].disk);
    operation.Set("op", NameOf(waiting[i].op));
    operation.Set("performed", waiting[i].performed);
    operation.Set("offset", static_cast<double>(waiting[i].offset));
    operation.Set("bytes", static_cast<double>(waiting[i].bytes));
    all.Set(i, operation);
  }
  return all;
}

// null: no timer is armed.
Napi::Value NextTimer(Napi::Env env) {
  std::optional<uint64_t> next;
  for (SimulatedLoop* loop : Runtime::Get().simulated_loops()) {
    const std::optional<uint64_t> due = loop->next_due_ns();
    if (due && (!next || *due < *next)) next = due;
  }
  if (!next) return env.Null();
  return Napi::Number::New(env, static_cast<double>(*next) / kNsPerMs);
}

Napi::Value SimulationState(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object state = Napi::Object::New(env);
  state.Set("busyLoops", BusyLoops(env));
  state.Set("events", static_cast<double>(Runtime::Get().events().waiting()));
  state.Set("operations", WaitingOperations(env));
  state.Set("nextTimerMs", NextTimer(env));
  return state;
}

void SimulationTurn(const Napi::CallbackInfo& info) { Runtime::Get().simulated_loops().at(HandleAt(info, 0))->Turn(); }

void SimulationTell(const Napi::CallbackInfo& info) { Runtime::Get().events().DeliverNow(info.Env(), HandleAt(info, 0)); }

void SimulationLetGo(const Napi::CallbackInfo& info) { Runtime::Get().gate().LetGo(U64At(info, 0)); }

void SimulationAdvance(const Napi::CallbackInfo& info) {
  SimulatedLoop::Advance(std::chrono::nanoseconds(static_cast<int64_t>(NumberAt(info, 0) * kNsPerMs)));
}

}  // namespace

void ExportSimulationVerbs(Napi::Env env, Napi::Object exports) {
  exports.Set("simulationState", Napi::Function::New(env, SimulationState));
  exports.Set("simulationTurn", Napi::Function::New(env, SimulationTurn));
  exports.Set("simulationTell", Napi::Function::New(env, SimulationTell));
  exports.Set("simulationLetGo", Napi::Function::New(env, SimulationLetGo));
  exports.Set("simulationAdvance", Napi::Function::New(env, SimulationAdvance));
}

}  // namespace varve
