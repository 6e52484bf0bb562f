// Fence: holds a new session's writes until older connections can no longer write.
//
// A client that lost its connection sends its unanswered writes again over a new one, then perhaps newer ones to
// the same place. A write of the old connection still on its way must not land on top of them. Who may
// still write keeps a hold; when the last one is dropped the fence opens.
// In the same way a paused export tells when its target has nothing of it any more.
// Thread: any; `open` runs on whichever dropped the last hold.
#pragma once

#include <functional>
#include <memory>
#include <utility>

namespace varve::nbd {

class Fence {
 public:
  explicit Fence(std::function<void()> open) : open_(std::move(open)) {}
  ~Fence() { open_(); }
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

 private:
  std::function<void()> open_;
};

using FenceHold = std::shared_ptr<Fence>;

}  // namespace varve::nbd
