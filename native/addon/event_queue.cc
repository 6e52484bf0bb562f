#include "addon/event_queue.h"

#include <cstring>
#include <utility>

namespace varve {

void EventQueue::Open(Napi::Env env, Napi::Function callback) {
  wake_ = Napi::ThreadSafeFunction::New(env, callback, "varve events", 0, 1);
}

void EventQueue::Close() { wake_.Release(); }

void EventQueue::Push(const char* kind, Build build) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    first = events_.empty();
    events_.push_back({kind, std::move(build)});
  }
  if (first) wake_.NonBlockingCall([this](Napi::Env env, Napi::Function callback) { Deliver(env, callback); });
}

void EventQueue::Deliver(Napi::Env env, Napi::Function callback) {
  std::vector<Event> events;
  {
    std::lock_guard lock(mutex_);
    events = std::exchange(events_, {});
  }
  Napi::HandleScope scope(env);
  Napi::Array batch = Napi::Array::New(env, events.size());
  for (uint32_t i = 0; i < events.size(); i++) {
    Napi::Object event = Napi::Object::New(env);
    event.Set("kind", events[i].kind);
    events[i].build(env, event);
    batch.Set(i, event);
  }
  callback.Call({batch});
}

void EventQueue::Done(double token, Status status, double value, std::vector<uint8_t> data, Build also) {
  Push("done", [=, data = std::move(data), also = std::move(also)](Napi::Env env, Napi::Object event) {
    event.Set("token", token);
    event.Set("error", status.error());
    std::string message;
    if (!status.ok()) message = std::string(status.what()) + ": " + std::strerror(status.error());
    event.Set("message", message);
    event.Set("value", value);
    if (!data.empty()) event.Set("data", Napi::Buffer<uint8_t>::Copy(env, data.data(), data.size()));
    if (also) also(env, event);
  });
}

}  // namespace varve
