// Descriptors by mail: datagrams on a unix socket, a text and a few descriptors in each.
//
// systemd takes and keeps descriptors so (sd_notify(3), FDSTORE=1), and a service that takes over from a running one does.
// Thread: any; sending waits while the receiver's queue is full, receiving until something comes. Not for a loop's thread.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/unique_fd.h"

namespace varve {

struct FdMail {
  std::string text;
  std::vector<UniqueFd> fds;  // CLOEXEC
};

// A socket to be received from. address: a path, or "@name" in the abstract namespace.
// Errors: ENAMETOOLONG over 107 bytes; what bind says.
Status OpenMailbox(const std::string& address, UniqueFd* mailbox);

// Errors: ECONNREFUSED, ENOENT nobody receives there; ETIMEDOUT the receiver takes nothing for five seconds; what sendmsg says.
Status SendFdMail(const std::string& address, std::string_view text, std::span<const int> fds);

// Errors: ETIMEDOUT nothing has come; EBADMSG it was cut off, and its descriptors are closed.
Status ReceiveFdMail(int mailbox, std::chrono::milliseconds timeout, FdMail* mail);

}  // namespace varve
