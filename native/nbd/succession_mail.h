// A succession on its way: from the process that ends to the one that goes on.
//
//   FDSTORE=1 FDNAME=varve-NONCE-0, varve-NONCE-1, … one descriptor each, in the order of the state's entries; then varve-NONCE-state
//
// The nonce is another one each time: what is left over from one succession cannot be taken for a part of another.
//
// To systemd, which keeps what is sent and gives it to the next process (LISTEN_FDS), or straight to that process.
// Thread: any but a loop's; both ways may wait.
// Elsewhere: the state's bytes (succession.h), datagrams (io/fd_mail.h).
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "nbd/succession.h"

namespace varve::nbd {

// With the name it was stored under.
using NamedFd = std::pair<std::string, UniqueFd>;

// Descriptors of `succession` are closed when it goes, here too. Errors: as SendFdMail(), what memfd_create says.
Status SendSuccession(const std::string& address, const Succession& succession);

// Of others' names nothing is taken, and they are closed. What is missing is an invalid descriptor.
// Errors: as DecodeSuccession(); ENODATA no state is among them; EBADMSG more than one.
Status AssembleSuccession(std::vector<NamedFd> fds, Succession* succession);

// Reads until the state has come. Errors: as AssembleSuccession(); ECANCELED a datagram "END=1" came instead; ETIMEDOUT.
Status ReceiveSuccession(int mailbox, std::chrono::milliseconds timeout, Succession* succession);

}  // namespace varve::nbd
