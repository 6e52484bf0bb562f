#include "nbd/listen_socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstring>
#include <memory>

#include "nbd/unix_address.h"

namespace varve::nbd {
namespace {

constexpr mode_t kSocketMode = 0660;
// A peer that vanished is noticed after kIdle + kProbes * kInterval = one minute.
constexpr int kKeepAliveIdleSeconds = 30;
constexpr int kKeepAliveIntervalSeconds = 10;
constexpr int kKeepAliveProbes = 3;
// So that replies of Session::kTurnBytesMax leave in one go: a sender that has to wait is woken for every part of what its client reads.
// The kernel counts twice as much, for what it takes itself. Without the right to so much it is what net.core.wmem_max allows.
constexpr int kUnixSendBytes = 512 << 10;

Status LastError(const char* what) { return Status(errno, what); }

void SetOption(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

// The process that listens behind a connected unix socket is dead. The kernel lets go of a killed process's io_uring, and
// so of its sockets, a moment after the process: until then they accept, and nobody will ever answer.
bool ListenerIsDead(int connected) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(connected, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid <= 0) return false;
  return kill(peer.pid, 0) != 0 && errno == ESRCH;
}

// A path that nobody answers is a leftover of a killed server. Non-blocking: a full queue (EAGAIN) has an owner.
Status RemoveStalePath(const std::string& path) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) return errno == ENOENT ? Status::Ok() : LastError("look at the socket's path");
  if (!S_ISSOCK(info.st_mode)) return Status(EADDRINUSE, "the path is taken by something that is no socket");
  UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return LastError("create a socket");
  const sockaddr_un address = UnixAddress(path);
  const bool connected = connect(probe.get(), Generic(address), sizeof address) == 0;
  const bool abandoned = connected ? ListenerIsDead(probe.get()) : errno == ECONNREFUSED;
  if (!abandoned) return Status(EADDRINUSE, "another server listens on this socket");
  return unlink(path.c_str()) == 0 || errno == ENOENT ? Status::Ok() : LastError("remove a stale socket");
}

Status OpenUnix(const std::string& path, ListenSocket* out) {
  if (path.size() >= sizeof(sockaddr_un::sun_path)) return Status(ENAMETOOLONG, "a socket's path has at most 107 bytes");
  if (const Status stale = RemoveStalePath(path); !stale.ok()) return stale;
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return LastError("create a socket");
  // Before bind, so that the path never appears with wider permissions; after it, in spite of the umask.
  fchmod(fd.get(), kSocketMode);
  const sockaddr_un address = UnixAddress(path);
  if (bind(fd.get(), Generic(address), sizeof address) != 0) return LastError("bind the socket");
  chmod(path.c_str(), kSocketMode);
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) return LastError("look at the socket's path");
  out->path = path;
  out->device = info.st_dev;
  out->inode = info.st_ino;
  out->fd = std::move(fd);
  return Status::Ok();
}

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

AddressList NumericAddress(const ListenAddress& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  // Numeric only: a name would have to be asked for, and nobody here may wait.
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  const std::string host = address.host.empty() ? "::" : address.host;
  addrinfo* found = nullptr;
  getaddrinfo(host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  return AddressList(found, freeaddrinfo);
}

uint16_t PortOf(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

Status OpenTcp(const ListenAddress& address, ListenSocket* out) {
  const AddressList found = NumericAddress(address);
  if (!found) return Status(EINVAL, "host must be a numeric address");
  UniqueFd fd(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return LastError("create a socket");
  SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  // "::" takes IPv4 too, whatever the host's default is.
  if (found->ai_family == AF_INET6) SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, address.host.empty() ? 0 : 1);
  if (bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0) return LastError("bind the socket");
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &length) != 0) return LastError("read the port");
  out->host = address.host;
  out->port = PortOf(bound);
  out->fd = std::move(fd);
  return Status::Ok();
}

bool IsAtItsPath(const ListenSocket& socket) {
  struct stat info{};
  if (lstat(socket.path.c_str(), &info) != 0) return false;
  return info.st_dev == socket.device && info.st_ino == socket.inode;
}

}  // namespace

Status OpenListenSocket(const ListenAddress& address, ListenSocket* out) {
  const Status opened = address.path.empty() ? OpenTcp(address, out) : OpenUnix(address.path, out);
  if (!opened.ok()) return opened;
  if (listen(out->fd.get(), SOMAXCONN) == 0) return Status::Ok();
  const Status failed = LastError("listen on the socket");
  RemovePath(*out);
  return failed;
}

bool ListensOn(const ListenSocket& socket, const ListenAddress& address) {
  if (address.path.empty()) return socket.path.empty() && socket.host == address.host && socket.port == address.port;
  return socket.path == address.path && IsAtItsPath(socket);
}

void RemovePath(const ListenSocket& socket) {
  if (!socket.path.empty() && IsAtItsPath(socket)) unlink(socket.path.c_str());
}

void PrepareClientSocket(int fd) {
  int domain = 0;
  socklen_t length = sizeof domain;
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
  // TCP sizes its buffers itself.
  if (domain == AF_UNIX) return SetOption(fd, SOL_SOCKET, SO_SNDBUF, kUnixSendBytes);
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveIdleSeconds);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveIntervalSeconds);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes);
}

std::string PeerAddress(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  sockaddr_storage address{};
  socklen_t address_length = sizeof address;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &address_length) != 0) return "unknown";
  if (address.ss_family == AF_UNIX) {
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return "unix";
    return "unix:pid=" + std::to_string(peer.pid) + ",uid=" + std::to_string(peer.uid);
  }
  char host[INET6_ADDRSTRLEN] = "";
  getnameinfo(reinterpret_cast<sockaddr*>(&address), address_length, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  const bool brackets = address.ss_family == AF_INET6;
  return (brackets ? "[" : "") + std::string(host) + (brackets ? "]:" : ":") + std::to_string(PortOf(address));
}

}  // namespace varve::nbd
