// IscsiLibrary: what is used of libiscsi, loaded when the first iSCSI disk is opened.
//
// libiscsi speaks the protocol (PDUs, login, CHAP) on one socket without blocking; commands, retries, paths and time
// limits are ours. It is LGPL and optional: a host without iSCSI disks needs neither it nor its headers, so the few
// declarations used stand here. They are those of libiscsi.so.7, whose number guards them; native/test/iscsi_library_test.cc
// compares them with the real headers.
// Thread: Get() any. A Context belongs to one thread at a time.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace varve::libiscsi {

struct Context;  // struct iscsi_context
struct Data;     // struct iscsi_data

struct Sense {
  unsigned char error_type;
  int key;
  int ascq;  // additional sense code << 8 | qualifier
};

// The beginning of struct scsi_task, which only the library makes.
struct Task {
  int status;
  int cdb_size;
  int xfer_dir;
  int expxferlen;
  unsigned char cdb[16];
  int residual_status;  // 0: all was transferred
  size_t residual;
  Sense sense;
};

// struct iscsi_target_portal and struct iscsi_discovery_address
struct Portal {
  Portal* next;
  const char* portal;
};
struct Target {
  Target* next;
  const char* name;
  Portal* portals;
};

struct Iovec {  // struct scsi_iovec, which is struct iovec
  void* base;
  size_t bytes;
};

enum SessionType : int { kDiscovery = 1, kNormal = 2 };
enum Transfer : int { kNoTransfer = 0, kFromTarget = 1, kToTarget = 2 };
enum TaskManagement : int { kLunReset = 5 };
constexpr uint32_t kNoTask = 0xffffffff;
enum CommandStatus : int {
  kGood = 0,
  kCheckCondition = 2,
  kConditionMet = 4,
  kBusy = 8,
  kReservationConflict = 0x18,
  kTaskSetFull = 0x28,
  kAcaActive = 0x30,
  kTaskAborted = 0x40,
  kRedirect = 0x101,
  kCancelled = 0x0f000000,
};

using Callback = void (*)(Context*, int status, void* command_data, void* owner);

struct Functions {
  Context* (*create_context)(const char* initiator);
  int (*destroy_context)(Context*);
  int (*set_session_type)(Context*, int type);
  int (*set_targetname)(Context*, const char*);
  int (*set_alias)(Context*, const char*);
  int (*set_isid_random)(Context*, uint32_t random, uint32_t qualifier);
  int (*set_initiator_username_pwd)(Context*, const char* user, const char* secret);
  int (*set_target_username_pwd)(Context*, const char* user, const char* secret);
  void (*set_noautoreconnect)(Context*, int);
  int (*connect_async)(Context*, const char* portal, Callback, void* owner);
  int (*login_async)(Context*, Callback, void* owner);
  int (*discovery_async)(Context*, Callback, void* owner);
  int (*nop_out_async)(Context*, Callback, unsigned char* data, int bytes, void* owner);
  int (*task_mgmt_async)(Context*, int lun, int function, uint32_t task, uint32_t command, Callback, void* owner);
  int (*scsi_command_async)(Context*, int lun, Task*, Callback, Data*, void* owner);
  int (*get_fd)(Context*);
  int (*which_events)(Context*);
  int (*service)(Context*, int events);
  const char* (*get_error)(Context*);
  const char* (*get_target_address)(Context*);
  Task* (*create_task)(int cdb_bytes, unsigned char* cdb, int transfer, int bytes);
  void (*free_task)(Task*);
  void (*set_iov_out)(Task*, Iovec*, int count);
  void (*set_iov_in)(Task*, Iovec*, int count);
};

// Loads the library. ENOPKG: it is not there, or lacks something; the sentence names the Debian package.
Status Load(const Functions** out);

}  // namespace varve::libiscsi
