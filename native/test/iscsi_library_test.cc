// Goal: what iscsi_library.h declares of libiscsi is what the library has.
// Method: compared with the library's own headers, and loaded.
#include "io/iscsi_library.h"

#include <gtest/gtest.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include <cstddef>

namespace varve::libiscsi {
namespace {

static_assert(offsetof(Task, status) == offsetof(scsi_task, status));
static_assert(offsetof(Task, residual_status) == offsetof(scsi_task, residual_status));
static_assert(offsetof(Task, sense) == offsetof(scsi_task, sense));
static_assert(offsetof(Sense, key) == offsetof(scsi_sense, key));
static_assert(offsetof(Sense, ascq) == offsetof(scsi_sense, ascq));
static_assert(offsetof(Target, name) == offsetof(iscsi_discovery_address, target_name));
static_assert(offsetof(Target, portals) == offsetof(iscsi_discovery_address, portals));
static_assert(offsetof(Portal, portal) == offsetof(iscsi_target_portal, portal));
static_assert(sizeof(Iovec) == sizeof(scsi_iovec));
static_assert(static_cast<int>(kBusy) == SCSI_STATUS_BUSY && static_cast<int>(kTaskSetFull) == SCSI_STATUS_TASK_SET_FULL);
static_assert(static_cast<int>(kCancelled) == SCSI_STATUS_CANCELLED && static_cast<int>(kRedirect) == SCSI_STATUS_REDIRECT);
static_assert(static_cast<int>(kLunReset) == ISCSI_TM_LUN_RESET);
static_assert(static_cast<int>(kToTarget) == SCSI_XFER_WRITE && static_cast<int>(kFromTarget) == SCSI_XFER_READ);
static_assert(static_cast<int>(kDiscovery) == ISCSI_SESSION_DISCOVERY);

TEST(IscsiLibrary, IsLoadedWithAllThatIsUsed) {
  const Functions* functions = nullptr;
  EXPECT_TRUE(Load(&functions).ok());
  EXPECT_NE(functions, nullptr);
}

}  // namespace
}  // namespace varve::libiscsi
