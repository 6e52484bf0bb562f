#include "addon/event_queue.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

namespace varve {

void EventQueue::Open(Napi::Env env, Napi::Function callback) {
  wake_ = Napi::ThreadSafeFunction::New(env, callback, "varve events", 0, 1);
}

void EventQueue::OpenSimulated(Napi::Function callback) { simulated_ = Napi::Persistent(callback); }

void EventQueue::Close() {
  if (simulated_.IsEmpty()) wake_.Release();
  simulated_.Reset();
  events_.clear();
}

void EventQueue::Push(const char* kind, Build build) { Push({kind, std::move(build), false}); }

void EventQueue::PushChange(const char* kind, Build build) { Push({kind, std::move(build), true}); }

void EventQueue::Push(Event event) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    first = events_.empty();
    events_.push_back(std::move(event));
  }
  if (first && simulated_.IsEmpty()) {
    wake_.NonBlockingCall([this](Napi::Env env, Napi::Function callback) { Deliver(env, callback); });
  }
}

void EventQueue::Deliver(Napi::Env env, Napi::Function callback) {
  std::vector<Event> events;
  {
    std::lock_guard lock(mutex_);
    events = std::exchange(events_, {});
  }
  Tell(env, callback, events);
}

void EventQueue::DeliverNow(Napi::Env env, size_t count) {
  const auto end = events_.begin() + static_cast<ptrdiff_t>(std::min(count, events_.size()));
  std::vector<Event> events(std::make_move_iterator(events_.begin()), std::make_move_iterator(end));
  events_.erase(events_.begin(), end);
  Tell(env, simulated_.Value(), events);
}

void EventQueue::Tell(Napi::Env env, Napi::Function callback, const std::vector<Event>& events) {
  Napi::HandleScope scope(env);
  Napi::Array batch = Napi::Array::New(env);
  for (const Event& told : events) {
    if (told.changes_tables && batch.Length() > 0) {
      callback.Call({batch});
      batch = Napi::Array::New(env);
    }
    Napi::Object event = Napi::Object::New(env);
    event.Set("kind", told.kind);
    told.build(env, event);
    batch.Set(batch.Length(), event);
  }
  if (batch.Length() > 0) callback.Call({batch});
}

void EventQueue::Done(double token, Status status, double value, std::vector<uint8_t> data, Build also) {
  const bool changes_tables = also != nullptr;
  Build build = [=, data = std::move(data), also = std::move(also)](Napi::Env env, Napi::Object event) {
    event.Set("token", token);
    event.Set("error", status.error());
    std::string message;
    if (!status.ok()) message = std::string(status.what()) + ": " + std::strerror(status.error());
    event.Set("message", message);
    event.Set("value", value);
    if (!data.empty()) event.Set("data", Napi::Buffer<uint8_t>::Copy(env, data.data(), data.size()));
    if (also) also(env, event);
  };
  Push({"done", std::move(build), changes_tables});
}

}  // namespace varve
