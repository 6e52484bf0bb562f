// IscsiLun: what a logical unit is and can do, as it tells itself after a login.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "io/iscsi_session.h"

namespace varve {

struct IscsiLun {
  scsi::InquiryFacts inquiry;
  scsi::CapacityFacts capacity;
  scsi::LimitFacts limits;
  scsi::ProvisioningFacts provisioning;
  scsi::ModeFacts mode;
  std::string designators;  // empty: nothing unique in the world

  uint64_t size_bytes() const { return capacity.blocks * capacity.block_bytes; }
  bool thin() const { return capacity.thin; }
};

// Asks the session's LUN for everything. done: ok; ENXIO no such LUN; ENOTBLK no disk, or blocks of a size that is not served;
// ENOMEDIUM it has no blocks; or the session's end.
void InspectLun(EventLoop& loop, std::shared_ptr<IscsiSession> session, std::chrono::milliseconds patience,
                std::function<void(Status, const IscsiLun&)> done);

// Whether `seen`, at another time or through another portal, is the LUN known as `known`. ESTALE: it is not, or has shrunk.
Status SameLun(const IscsiLun& known, const IscsiLun& seen);

}  // namespace varve
