// IscsiAddress: how portals and targets are named, and how a portal's name becomes numbers.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "io/event_loop.h"

namespace varve {

struct IscsiTarget {
  std::vector<std::string> portals;  // host, host:port, [v6]:port; the first is preferred
  std::string name;                  // iqn. …, eui. … or naa. …
  uint32_t lun = 0;
  std::string initiator;             // our name
  std::string user, secret;          // CHAP; empty: none
  std::string target_user, target_secret;  // what the target proves itself with (mutual CHAP); empty: nothing
  // Without a sign of life from the target for so long, a session is given up.
  std::chrono::milliseconds answer_limit{10'000};
  // How often paths that are not in use are looked at.
  std::chrono::milliseconds check_every{5'000};
};

// Resolves the portal's host, away from the loop unless it is a number already. done, on the loop: ok and the numeric portal, or
// EHOSTUNREACH (no such name).
void ResolvePortal(EventLoop& loop, const std::string& portal, std::function<void(Status, const std::string&)> done);

}  // namespace varve
