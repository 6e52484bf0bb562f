// Export: a target under a name, shared by the sessions that serve it.
//
// Invariant: `clients` counts places claimed by Enter(), from before GO is answered until the session is gone.
// Thread: fields marked so, and the target, under the server's mutex; the rest never changes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nbd/server.h"

namespace varve::nbd {

struct Export {
  explicit Export(ExportSpec spec_in) : spec(std::move(spec_in)) {}

  ExportSpec spec;
  unsigned clients = 0;    // server's mutex
  size_t next_loop = 0;    // server's mutex
  bool removed = false;    // server's mutex
  bool paused = false;     // server's mutex
  std::function<void()> on_empty;  // server's mutex; set by removal
};

}  // namespace varve::nbd
