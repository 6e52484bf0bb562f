#include "io/fd_mail.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace varve {
namespace {

constexpr size_t kTextBytesMax = 4096;
// The kernel passes on at most 253 (SCM_MAX_FD).
constexpr size_t kFdsMax = 253;
constexpr timeval kSendTimeout{5, 0};

struct Address {
  sockaddr_un name{};
  socklen_t bytes = 0;
};

Status LastError(const char* what) { return Status(errno, what); }

Status AddressOf(const std::string& text, Address* address) {
  if (text.empty() || text.size() >= sizeof address->name.sun_path) {
    return Status(ENAMETOOLONG, "a socket's path has 1 to 107 bytes");
  }
  address->name.sun_family = AF_UNIX;
  std::memcpy(address->name.sun_path, text.data(), text.size());
  const bool abstract = text.front() == '@';
  if (abstract) address->name.sun_path[0] = '\0';
  address->bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + text.size() + (abstract ? 0 : 1));
  return Status::Ok();
}

const sockaddr* Generic(const Address& address) { return reinterpret_cast<const sockaddr*>(&address.name); }

// Room for the descriptors of one datagram, aligned as the kernel wants it.
struct alignas(cmsghdr) Control {
  std::array<std::byte, CMSG_SPACE(kFdsMax * sizeof(int))> bytes{};
};

void Attach(std::span<const int> fds, Control* control, msghdr* message) {
  if (fds.empty()) return;
  message->msg_control = control->bytes.data();
  message->msg_controllen = CMSG_SPACE(fds.size_bytes());
  cmsghdr* header = CMSG_FIRSTHDR(message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
}

void Detach(msghdr* message, std::vector<UniqueFd>* fds) {
  for (cmsghdr* header = CMSG_FIRSTHDR(message); header != nullptr; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      fds->emplace_back(fd);
    }
  }
}

}  // namespace

Status OpenMailbox(const std::string& text, UniqueFd* mailbox) {
  Address address;
  if (const Status parsed = AddressOf(text, &address); !parsed.ok()) return parsed;
  UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return LastError("create a socket");
  if (bind(fd.get(), Generic(address), address.bytes) != 0) return LastError("bind the socket");
  *mailbox = std::move(fd);
  return Status::Ok();
}

Status SendFdMail(const std::string& to, std::string_view text, std::span<const int> fds) {
  Address address;
  if (const Status parsed = AddressOf(to, &address); !parsed.ok()) return parsed;
  if (fds.size() > kFdsMax) return Status(EINVAL, "too many descriptors for one message");
  UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_fd.valid()) return LastError("create a socket");
  setsockopt(socket_fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kSendTimeout, sizeof kSendTimeout);
  iovec part{const_cast<char*>(text.data()), text.size()};
  Control control;
  msghdr message{};
  message.msg_name = &address.name;
  message.msg_namelen = address.bytes;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Attach(fds, &control, &message);
  ssize_t sent;
  do sent = sendmsg(socket_fd.get(), &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) return Status::Ok();
  return errno == EAGAIN ? Status(ETIMEDOUT, "the receiver takes nothing") : LastError("send descriptors");
}

Status ReceiveFdMail(int mailbox, std::chrono::milliseconds timeout, FdMail* mail) {
  pollfd query{mailbox, POLLIN, 0};
  int ready;
  do ready = poll(&query, 1, static_cast<int>(timeout.count()));
  while (ready < 0 && errno == EINTR);
  if (ready == 0) return Status(ETIMEDOUT, "nothing has come");
  if (ready < 0) return LastError("wait for descriptors");
  std::array<char, kTextBytesMax> text;
  iovec part{text.data(), text.size()};
  Control control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  ssize_t received;
  do received = recvmsg(mailbox, &message, MSG_CMSG_CLOEXEC);
  while (received < 0 && errno == EINTR);
  if (received < 0) return LastError("receive descriptors");
  std::vector<UniqueFd> fds;
  Detach(&message, &fds);
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return Status(EBADMSG, "a message was cut off");
  mail->text.assign(text.data(), static_cast<size_t>(received));
  mail->fds = std::move(fds);
  return Status::Ok();
}

}  // namespace varve
