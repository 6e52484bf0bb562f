// HandleTable: what is open of one kind, by handle.
//
// A handle that means nothing, or nothing any more, throws, which the verb's caller gets as JavaScript's error: the process serves
// guests, and outlives a control plane that names what it has closed.
// Thread: JavaScript's. Exceptions leave no verb (node-addon-api catches them), and no other folder is compiled for them (binding.gyp).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace varve {

using Handle = uint32_t;

template <typename T>
class HandleTable {
 public:
  // `kind`: for the error's text.
  explicit HandleTable(const char* kind) : kind_(kind) {}

  void Put(Handle handle, std::shared_ptr<T> open) { open_[handle] = std::move(open); }
  void Remove(Handle handle) { open_.erase(handle); }
  // As Remove, for whoever has something to do before the last reference goes.
  std::shared_ptr<T> Take(Handle handle) {
    std::shared_ptr<T> open = At(handle);
    Remove(handle);
    return open;
  }

  // Null when it is not open.
  std::shared_ptr<T> Find(Handle handle) const {
    const auto found = open_.find(handle);
    return found == open_.end() ? nullptr : found->second;
  }

  // Throws std::out_of_range when it is not open.
  std::shared_ptr<T> At(Handle handle) const {
    std::shared_ptr<T> open = Find(handle);
    if (open == nullptr) throw std::out_of_range(std::string(kind_) + " " + std::to_string(handle) + " is not open");
    return open;
  }

  // Pairs of a handle and what it names, by handle.
  auto begin() const { return open_.begin(); }
  auto end() const { return open_.end(); }

 private:
  const char* const kind_;
  std::map<Handle, std::shared_ptr<T>> open_;
};

}  // namespace varve
