#include "io/iscsi_login_error.h"

#include <cstdlib>
#include <cstring>
#include <string_view>

namespace varve {

namespace {

// Status class and detail of a login response (RFC 7143, 11.13.5).
enum LoginStatus : int {
  kAuthenticationFailed = 0x0201,
  kForbidden = 0x0202,
  kTargetNotFound = 0x0203,
  kTargetRemoved = 0x0204,
};

// "…: Connection refused(111)." or "read from socket failed, errno:104"
int LastNumber(const char* text) {
  const char* before = std::strrchr(text, '(');
  if (!before) before = std::strrchr(text, ':');
  return before ? std::atoi(before + 1) : 0;
}

Status OfLoginStatus(int number) {
  switch (number) {
    case kAuthenticationFailed:
      return Status(EACCES, "the iSCSI target refuses the login: CHAP user or secret is wrong or missing");
    case kForbidden:
      return Status(EACCES, "the iSCSI target does not admit this initiator's name");
    case kTargetNotFound:
    case kTargetRemoved:
      return Status(ENOENT, "the portal has no such iSCSI target");
    default:
      return Status(ECONNREFUSED, "the iSCSI target refuses the login");
  }
}

Status OfErrno(int number) {
  constexpr const char* kWhat = "connect to the iSCSI portal";
  switch (number) {
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ETIMEDOUT:
      return Status(number, kWhat);
    case ENETUNREACH:
      return Status(EHOSTUNREACH, kWhat);
    default:
      return Status(ENOTCONN, kWhat);
  }
}

}  // namespace

Status LoginError(const char* text) {
  std::string_view sentence(text);
  auto says = [&](std::string_view part) { return sentence.find(part) != std::string_view::npos; };
  if (says("CHAP_N") || says("CHAP_R") || says("CHAP targetname")) {
    return Status(EACCES, "the iSCSI target does not know the secret it should prove itself with (mutual CHAP)");
  }
  int number = LastNumber(text);
  return says("Failed to log in") ? OfLoginStatus(number) : OfErrno(number);
}

}  // namespace varve
