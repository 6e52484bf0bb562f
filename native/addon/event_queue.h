// EventQueue: what the data plane tells JavaScript, in order and in batches.
//
// Guarantees: events are delivered in the order of Push(), each once, through one thread-safe function; a burst
// of events wakes JavaScript once.
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
  // Fills one event's fields; may also let go of what belongs to JavaScript's thread.
  using Build = std::function<void(Napi::Env env, Napi::Object event)>;

  void Open(Napi::Env env, Napi::Function callback);
  void Close();

  void Push(const char* kind, Build build);
  // The end of a verb. data: bytes for JavaScript, none when empty.
  void Done(double token, Status status, double value = 0, std::vector<uint8_t> data = {}, Build also = nullptr);

 private:
  struct Event {
    const char* kind;
    Build build;
  };
  void Deliver(Napi::Env env, Napi::Function callback);

  Napi::ThreadSafeFunction wake_;
  std::mutex mutex_;
  std::vector<Event> events_;
};

}  // namespace varve
