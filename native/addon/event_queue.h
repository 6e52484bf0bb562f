// EventQueue: what the data plane tells JavaScript, in order and in batches.
//
//   served:     Push ─▶ thread-safe function ─▶ callback
//   simulated:  Push ─▶ kept ─DeliverNow─▶ callback         (tools/simulate decides when)
//
// Guarantees: events are delivered in the order of Push(), each once, through one thread-safe function; a burst
// of events wakes JavaScript once. What an event does to what belongs to JavaScript's thread, as the end of a verb may, is done when
// JavaScript has handled everything before it: until then it may use a handle that is let go there.
// Thread: Push on any; the builders run on JavaScript's.
#pragma once

#include <napi.h>

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"

namespace varve {

class EventQueue {
 public:
  // Fills one event's fields.
  using Build = std::function<void(Napi::Env env, Napi::Object event)>;

  void Open(Napi::Env env, Napi::Function callback);
  // What is pushed waits for DeliverNow.
  void OpenSimulated(Napi::Function callback);
  void Close();

  void Push(const char* kind, Build build);
  // As Push, of an event whose builder changes what belongs to JavaScript's thread.
  void PushChange(const char* kind, Build build);
  // Simulated: how many wait, and the first `count` of them reach the callback before this returns.
  size_t waiting() const { return events_.size(); }
  void DeliverNow(Napi::Env env, size_t count);
  // The end of a verb. data: bytes for JavaScript, none when empty. also: changes what belongs to JavaScript's thread.
  void Done(double token, Status status, double value = 0, std::vector<uint8_t> data = {}, Build also = nullptr);

 private:
  struct Event {
    const char* kind;
    Build build;
    bool changes_tables;
  };
  void Deliver(Napi::Env env, Napi::Function callback);
  void Push(Event event);
  static void Tell(Napi::Env env, Napi::Function callback, const std::vector<Event>& events);

  Napi::ThreadSafeFunction wake_;
  Napi::FunctionReference simulated_;  // instead of it
  std::mutex mutex_;
  std::vector<Event> events_;
};

}  // namespace varve
