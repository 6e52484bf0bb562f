// Completion: where the end of an asynchronous operation is reported.
//
// Intrusive: the caller embeds it in its own request, so submitting allocates
// nothing. Run() is called exactly once per submission, on the thread of the
// loop the operation was submitted to, never from inside the submitting call
// (an operation that ends at once is still reported from the loop).
#pragma once

#include "base/status.h"

namespace varve {

struct Completion {
  using Fn = void (*)(Completion* self, Status status);
  explicit Completion(Fn fn) : fn_(fn) {}
  void Run(Status status) { fn_(this, status); }

 private:
  Fn fn_;
};

}  // namespace varve
