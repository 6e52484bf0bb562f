#include "io/iscsi_library.h"

#include <dlfcn.h>

namespace varve::libiscsi {

namespace {

constexpr char kFile[] = "libiscsi.so.7";

template <typename Function>
bool Find(void* library, const char* name, Function* out) {
  *out = reinterpret_cast<Function>(dlsym(library, name));
  return *out != nullptr;
}

bool FindAll(void* library, Functions* out) {
  return Find(library, "iscsi_create_context", &out->create_context) &&
         Find(library, "iscsi_destroy_context", &out->destroy_context) &&
         Find(library, "iscsi_set_session_type", &out->set_session_type) &&
         Find(library, "iscsi_set_targetname", &out->set_targetname) &&
         Find(library, "iscsi_set_alias", &out->set_alias) &&
         Find(library, "iscsi_set_isid_random", &out->set_isid_random) &&
         Find(library, "iscsi_set_initiator_username_pwd", &out->set_initiator_username_pwd) &&
         Find(library, "iscsi_set_target_username_pwd", &out->set_target_username_pwd) &&
         Find(library, "iscsi_set_noautoreconnect", &out->set_noautoreconnect) &&
         Find(library, "iscsi_connect_async", &out->connect_async) &&
         Find(library, "iscsi_login_async", &out->login_async) &&
         Find(library, "iscsi_discovery_async", &out->discovery_async) &&
         Find(library, "iscsi_nop_out_async", &out->nop_out_async) &&
         Find(library, "iscsi_task_mgmt_async", &out->task_mgmt_async) &&
         Find(library, "iscsi_scsi_command_async", &out->scsi_command_async) &&
         Find(library, "iscsi_get_fd", &out->get_fd) && Find(library, "iscsi_which_events", &out->which_events) &&
         Find(library, "iscsi_service", &out->service) && Find(library, "iscsi_get_error", &out->get_error) &&
         Find(library, "iscsi_get_target_address", &out->get_target_address) &&
         Find(library, "scsi_create_task", &out->create_task) &&
         Find(library, "scsi_free_scsi_task", &out->free_task) &&
         Find(library, "scsi_task_set_iov_out", &out->set_iov_out) &&
         Find(library, "scsi_task_set_iov_in", &out->set_iov_in);
}

// The library stays loaded: contexts of closing disks may outlive any count.
bool LoadInto(Functions* out) {
  void* library = dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  return library != nullptr && FindAll(library, out);
}

}  // namespace

Status Load(const Functions** out) {
  static Functions functions;
  static const bool loaded = LoadInto(&functions);
  if (!loaded) return Status(ENOPKG, "iSCSI disks need libiscsi.so.7, install the Debian package libiscsi7");
  *out = &functions;
  return Status::Ok();
}

}  // namespace varve::libiscsi
