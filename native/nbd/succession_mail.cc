#include "nbd/succession_mail.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <string_view>

#include "io/fd_mail.h"

namespace varve::nbd {
namespace {

constexpr std::string_view kNamePrefix = "varve-";
constexpr std::string_view kStateSuffix = "-state";
constexpr std::string_view kNameField = "FDNAME=";
constexpr std::string_view kEnd = "END=1";
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
constexpr off_t kStateBytesMax = off_t{1} << 30;

Status LastError(const char* what) { return Status(errno, what); }

// A file that nobody can change any more: what was checked is what is read.
Status SealedFile(std::string_view bytes, UniqueFd* file) {
  UniqueFd fd(memfd_create("varve-state", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return LastError("create a file in memory");
  while (!bytes.empty()) {
    const ssize_t written = write(fd.get(), bytes.data(), bytes.size());
    if (written <= 0) return LastError("write the clients' state");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return LastError("seal the clients' state");
  *file = std::move(fd);
  return Status::Ok();
}

Status ReadSealed(int fd, std::string* bytes) {
  struct stat info{};
  if (fstat(fd, &info) != 0) return LastError("look at the clients' state");
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals || info.st_size > kStateBytesMax) {
    return Status(EBADMSG, "what the last service left is not a sealed state");
  }
  bytes->resize(static_cast<size_t>(info.st_size));
  size_t taken = 0;
  while (taken < bytes->size()) {
    // The offset is shared with whoever else has the descriptor.
    const ssize_t got = pread(fd, bytes->data() + taken, bytes->size() - taken, static_cast<off_t>(taken));
    if (got <= 0) return LastError("read the clients' state");
    taken += static_cast<size_t>(got);
  }
  return Status::Ok();
}

Status Store(const std::string& address, const std::string& name, int fd) {
  return SendFdMail(address, "FDSTORE=1\n" + std::string(kNameField) + name, {&fd, 1});
}

bool IsStateName(std::string_view name) { return name.starts_with(kNamePrefix) && name.ends_with(kStateSuffix); }

std::string NewPrefix() {
  uint64_t nonce = 0;
  if (getrandom(&nonce, sizeof nonce, 0) < 0) nonce = static_cast<uint64_t>(getpid());
  return std::string(kNamePrefix) + std::to_string(nonce);
}

std::string NameIn(std::string_view text) {
  const size_t at = text.find(kNameField);
  if (at == std::string_view::npos) return {};
  std::string_view name = text.substr(at + kNameField.size());
  return std::string(name.substr(0, name.find('\n')));
}

}  // namespace

Status SendSuccession(const std::string& address, const Succession& succession) {
  const std::string prefix = NewPrefix();
  size_t index = 0;
  for (const UniqueFd* fd : succession.Descriptors()) {
    const std::string name = prefix + "-" + std::to_string(index++);
    if (!fd->valid()) continue;
    if (const Status stored = Store(address, name, fd->get()); !stored.ok()) return stored;
  }
  UniqueFd state;
  if (const Status sealed = SealedFile(EncodeSuccession(succession), &state); !sealed.ok()) return sealed;
  return Store(address, prefix + std::string(kStateSuffix), state.get());
}

Status AssembleSuccession(std::vector<NamedFd> fds, Succession* succession) {
  std::map<std::string, UniqueFd> by_name;
  for (NamedFd& named : fds) by_name[named.first] = std::move(named.second);
  const auto is_state = [](const auto& entry) { return IsStateName(entry.first); };
  const auto states = std::count_if(by_name.begin(), by_name.end(), is_state);
  if (states == 0) return Status(ENODATA, "the last service left no state of its clients");
  if (states > 1) return Status(EBADMSG, "several services left a state of their clients");
  const auto state = std::find_if(by_name.begin(), by_name.end(), is_state);
  const std::string prefix = state->first.substr(0, state->first.size() - kStateSuffix.size());
  std::string bytes;
  if (const Status read = ReadSealed(state->second.get(), &bytes); !read.ok()) return read;
  if (const Status decoded = DecodeSuccession(std::as_bytes(std::span(bytes)), succession); !decoded.ok()) return decoded;
  size_t index = 0;
  for (UniqueFd* fd : succession->Descriptors()) {
    const auto found = by_name.find(prefix + "-" + std::to_string(index++));
    if (found != by_name.end()) *fd = std::move(found->second);
  }
  return Status::Ok();
}

Status ReceiveSuccession(int mailbox, std::chrono::milliseconds timeout, Succession* succession) {
  std::vector<NamedFd> fds;
  while (true) {
    FdMail mail;
    if (const Status received = ReceiveFdMail(mailbox, timeout, &mail); !received.ok()) return received;
    if (mail.text == kEnd) return Status(ECANCELED, "nothing was left");
    const std::string name = NameIn(mail.text);
    if (mail.fds.size() == 1) fds.emplace_back(name, std::move(mail.fds.front()));
    if (IsStateName(name)) return AssembleSuccession(std::move(fds), succession);
  }
}

}  // namespace varve::nbd
