#include "test/tgt_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "io/unique_fd.h"
#include "test/spawn.h"

namespace varve {

namespace {

constexpr char kName[] = "iqn.2026-01.dev.varve.test:tgt";

// tgt's caching page as it is by default, and with the cache off.
constexpr char kNoWriteCache[] = "mode_page=8:0:18:0x10:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0";

std::string TemporaryFolder() {
  std::string path = (std::filesystem::temp_directory_path() / "varve-tgt-XXXXXX").string();
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

bool Listens(unsigned port) {
  UniqueFd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

unsigned FreePort() {
  UniqueFd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(bind(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  socklen_t bytes = sizeof address;
  getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &bytes);
  return ntohs(address.sin_port);
}

TgtServer::TgtServer(unsigned target_number)
    : target_number_(target_number), folder_(TemporaryFolder()), port_(FreePort()) {
  Start();
}

TgtServer::~TgtServer() {
  Kill();
  std::filesystem::remove_all(folder_);
}

void TgtServer::Start() {
  Spawn();
  Configure();
}

void TgtServer::Spawn() {
  pid_ = SpawnQuietly({"tgtd", "--foreground", "--control-port", control_port(), "--iscsi", "portal=" + portal()});
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!Listens(port_) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ASSERT_TRUE(Listens(port_)) << "tgtd does not listen";
}

// Initiators are let in last: none sees a target without its LUNs.
void TgtServer::Configure() {
  Admin("--op new --mode target --targetname " + std::string(kName));
  for (const auto& [number, lun] : luns_) CreateLun(number, lun);
  for (const std::string& account : accounts_) Admin(account);
  Admin("--op bind --mode target --initiator-address ALL");
}

void TgtServer::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

// Its threads go on for a moment after the signal.
void TgtServer::Pause() {
  kill(pid_, SIGSTOP);
  waitpid(pid_, nullptr, WUNTRACED);
}

void TgtServer::Resume() { kill(pid_, SIGCONT); }

unsigned TgtServer::AddLun(const Lun& lun) {
  unsigned number = luns_.empty() ? 1 : luns_.rbegin()->first + 1;
  luns_[number] = lun;
  std::ofstream(BackingFile(number)).close();
  std::filesystem::resize_file(BackingFile(number), lun.size_bytes);
  CreateLun(number, lun);
  return number;
}

std::string TgtServer::BackingFile(unsigned lun) const { return folder_ + "/lun" + std::to_string(lun); }

void TgtServer::CreateLun(unsigned number, const Lun& lun) {
  std::string which = " --lun " + std::to_string(number) + " ";
  Admin("--op new --mode logicalunit" + which + "--backing-store " + BackingFile(number) + " --blocksize " +
        std::to_string(lun.block_bytes));
  std::string update = "--op update --mode logicalunit" + which + "--params ";
  if (lun.thin) Admin(update + "thin_provisioning=1");
  if (lun.read_only) Admin(update + "readonly=1");
  if (!lun.write_cache) Admin(update + kNoWriteCache);
}

void TgtServer::SetAccounts(const Account& incoming, const Account& own) {
  auto add = [this](const Account& account, const char* direction) {
    for (std::string arguments : {"--op new --mode account --user " + account.user + " --password " + account.secret,
                                  "--op bind --mode account --user " + account.user + direction}) {
      accounts_.push_back(arguments);
      Admin(arguments);
    }
  };
  add(incoming, "");
  if (!own.user.empty()) add(own, " --outgoing");
}

void TgtServer::Admin(const std::string& arguments) const {
  std::vector<std::string> words{"tgtadm", "--control-port", control_port(), "--lld", "iscsi"};
  bool of_accounts = arguments.find("--op new --mode account") != std::string::npos;
  if (!of_accounts) words.insert(words.end(), {"--tid", std::to_string(target_number_)});
  for (size_t at = 0; at < arguments.size();) {
    size_t end = std::min(arguments.find(' ', at), arguments.size());
    if (end > at) words.push_back(arguments.substr(at, end - at));
    at = end + 1;
  }
  pid_t pid = SpawnQuietly(words);
  int status = -1;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0) << "tgtadm " << arguments;
}

IscsiTarget TgtServer::Target(unsigned lun) const {
  IscsiTarget target;
  target.portals = {portal()};
  target.name = kName;
  target.lun = lun;
  target.initiator = "iqn.2026-01.dev.varve.test:initiator";
  target.answer_limit = std::chrono::milliseconds(2000);
  target.check_every = std::chrono::milliseconds(100);
  return target;
}

OpenResult OpenIscsi(EventLoop& home, const IscsiTarget& target, bool read_only, IscsiPathsObserver on_paths) {
  IscsiCore::Options options{std::make_shared<IscsiTarget>(target), read_only, std::move(on_paths)};
  std::promise<OpenResult> result;
  OpenIscsiDisk(home, std::move(options), [&result](Status status, OpenedIscsiDisk opened) {
    result.set_value({status, std::move(opened)});
  });
  return result.get_future().get();
}

}  // namespace varve
