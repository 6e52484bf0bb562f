#include "io/iscsi_address.h"

#include <netdb.h>
#include <sys/socket.h>

#include <memory>
#include <utility>

namespace varve {

namespace {

constexpr char kDefaultPort[] = "3260";

struct HostAndPort {
  std::string host, port = kDefaultPort;
};

HostAndPort Split(const std::string& portal) {
  HostAndPort parts;
  size_t bracket = portal.rfind(']');
  size_t colon = portal.rfind(':');
  bool has_port = colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  parts.host = has_port ? portal.substr(0, colon) : portal;
  if (has_port) parts.port = portal.substr(colon + 1);
  if (parts.host.starts_with('[') && parts.host.ends_with(']')) parts.host = parts.host.substr(1, parts.host.size() - 2);
  return parts;
}

// The first address of the host, with its port, as libiscsi wants it.
Status Lookup(const HostAndPort& parts, int flags, std::string* numeric) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  if (getaddrinfo(parts.host.c_str(), parts.port.c_str(), &hints, &found) != 0) {
    return Status(EHOSTUNREACH, "there is no address for the iSCSI portal's name");
  }
  char host[NI_MAXHOST];
  int failed = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  bool v6 = found->ai_family == AF_INET6;
  freeaddrinfo(found);
  if (failed) return Status(EHOSTUNREACH, "the iSCSI portal's address cannot be used");
  *numeric = (v6 ? "[" + std::string(host) + "]" : std::string(host)) + ":" + parts.port;
  return Status::Ok();
}

struct PortalLookup : Completion {
  PortalLookup(HostAndPort wanted, std::function<void(Status, const std::string&)> report)
      : Completion(OnEnd), parts(std::move(wanted)), done(std::move(report)) {}
  static void OnEnd(Completion* self, Status status) {
    std::unique_ptr<PortalLookup> lookup(static_cast<PortalLookup*>(self));
    lookup->done(status, lookup->numeric);
  }
  HostAndPort parts;
  std::string numeric;
  std::function<void(Status, const std::string&)> done;
};

}  // namespace

void ResolvePortal(EventLoop& loop, const std::string& portal, std::function<void(Status, const std::string&)> done) {
  auto* lookup = new PortalLookup(Split(portal), std::move(done));
  if (Lookup(lookup->parts, AI_NUMERICHOST, &lookup->numeric).ok()) return loop.Complete(lookup, Status::Ok());
  loop.RunBlocking([lookup] { return Lookup(lookup->parts, 0, &lookup->numeric); }, lookup);
}

}  // namespace varve
