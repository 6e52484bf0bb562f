// ObjectPool: objects used and given back on one thread, without an allocation each time.
//
// Thread: each thread has its own; an object goes back on the thread that took it.
#pragma once

#include <memory>
#include <vector>

namespace varve {

template <typename T>
class ObjectPool {
 public:
  static T* Take() {
    auto& free = FreeList();
    if (free.empty()) return new T();
    T* object = free.back().release();
    free.pop_back();
    return object;
  }

  // `object` is in the state of a new one again.
  static void Give(T* object) {
    auto& free = FreeList();
    if (free.size() < kKeptMax) {
      free.emplace_back(object);
    } else {
      delete object;
    }
  }

 private:
  static constexpr size_t kKeptMax = 1024;
  static std::vector<std::unique_ptr<T>>& FreeList() {
    thread_local std::vector<std::unique_ptr<T>> free;
    return free;
  }
};

}  // namespace varve
