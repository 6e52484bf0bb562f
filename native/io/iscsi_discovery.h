// What a portal offers: its targets (SendTargets) and their LUNs (REPORT LUNS), each asked what it is.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/iscsi_dial.h"

namespace varve {

struct FoundLun {
  uint32_t number = 0;
  Status status;  // not ok: it cannot be a disk, or does not say
  IscsiLun lun;
};

struct FoundTarget {
  std::string name;
  std::vector<std::string> portals;  // as the target tells them, without their group's tag
  Status status;                     // not ok: the login was refused; no LUNs then
  std::vector<FoundLun> luns;
};

// seeker: one portal, our name, and the CHAP user if any; its name and LUN do not matter. done, on the loop's thread: ok and what was
// found, or why the portal cannot be asked.
void DiscoverIscsi(EventLoop& loop, IscsiTarget seeker, std::function<void(Status, std::vector<FoundTarget>)> done);

}  // namespace varve
