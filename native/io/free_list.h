// FreeList: operation objects that are used again instead of allocated again.
//
// Take() allocates only while more are in use than ever before. The list owns
// every object it made; taken ones must be given back before it is destroyed.
// Thread: its owner's.
#pragma once

#include <memory>
#include <vector>

namespace varve {

template <typename T>
class FreeList {
 public:
  T* Take() {
    if (free_.empty()) {
      all_.push_back(std::make_unique<T>());
      free_.reserve(all_.size());
      return all_.back().get();
    }
    T* item = free_.back();
    free_.pop_back();
    return item;
  }

  void Give(T* item) { free_.push_back(item); }

 private:
  std::vector<std::unique_ptr<T>> all_;
  std::vector<T*> free_;
};

}  // namespace varve
