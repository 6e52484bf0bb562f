#include "test/ganesha.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <vector>

#include "io/unique_fd.h"

namespace varve {

namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int FreePort() {
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = Loopback(0);
  socklen_t length = sizeof address;
  EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  return ntohs(address.sin_port);
}

bool Listens(int port) {
  UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = Loopback(port);
  return connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

bool Eventually(const std::function<bool()>& condition) {
  auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

// In the child of a fork: becomes the program, without a word.
[[noreturn]] void Become(const char* program, std::vector<const char*> arguments) {
  int null = open("/dev/null", O_RDWR);
  for (int fd : {0, 1, 2}) dup2(null, fd);
  arguments.insert(arguments.begin(), program);
  arguments.push_back(nullptr);
  execvp(program, const_cast<char* const*>(arguments.data()));
  _exit(127);
}

// Ganesha registers version 3 with it, and refuses to run otherwise. Started when the system has none, and ended with this program.
class Rpcbind {
 public:
  static void Ensure() {
    static Rpcbind ours;
    if (!Listens(kPort)) ours.Start();
  }
  ~Rpcbind() {
    if (process_ <= 0) return;
    kill(process_, SIGTERM);
    waitpid(process_, nullptr, 0);
  }

 private:
  static constexpr int kPort = 111;

  void Start() {
    std::filesystem::create_directories("/run/rpcbind");
    process_ = fork();
    if (process_ == 0) Become("rpcbind", {"-i", "-f"});
    EXPECT_TRUE(Eventually([] { return Listens(kPort); })) << "rpcbind cannot be started: apt-get install rpcbind";
  }

  pid_t process_ = -1;
};

std::string Config(const std::string& folder, int nfs_port, int mount_port) {
  return "NFS_CORE_PARAM { NFS_Protocols = 3,4; NFS_Port = " + std::to_string(nfs_port) +
         "; MNT_Port = " + std::to_string(mount_port) +
         "; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; Bind_addr = 127.0.0.1; }\n"
         "NFSV4 { Graceless = true; RecoveryBackend = fs; RecoveryRoot = \"" + folder + "/recovery\"; }\n"
         "EXPORT { Export_Id = 1; Path = " + folder + "/export; Pseudo = " + folder + "/export; Access_Type = RW;"
         " Squash = No_Root_Squash; SecType = sys; Protocols = 3,4; Transports = TCP; FSAL { Name = VFS; } }\n"
         "LOG { Default_Log_Level = WARN; Facility { name = FILE; destination = \"" + folder + "/log\"; enable = active; } }\n";
}

}  // namespace

Ganesha::Ganesha() : nfs_port_(FreePort()), mount_port_(FreePort()) {
  folder_ = (std::filesystem::temp_directory_path() / "varve-ganesha-XXXXXX").string();
  EXPECT_NE(mkdtemp(folder_.data()), nullptr);
  std::filesystem::create_directory(folder_ + "/export");
  std::filesystem::create_directory(folder_ + "/recovery");
  std::ofstream(folder_ + "/ganesha.conf") << Config(folder_, nfs_port_, mount_port_);
  Start();
}

Ganesha::Ganesha(const File& file) : Ganesha() { MakeFile(file.name, file.bytes); }

Ganesha::~Ganesha() {
  if (process_ > 0) Kill();
  std::filesystem::remove_all(folder_);
}

void Ganesha::Start() {
  Rpcbind::Ensure();
  std::string config = folder_ + "/ganesha.conf", log = folder_ + "/log", pid = folder_ + "/pid";
  process_ = fork();
  if (process_ == 0) Become("ganesha.nfsd", {"-F", "-f", config.c_str(), "-L", log.c_str(), "-p", pid.c_str()});
  bool up = Eventually([this] { return Listens(nfs_port_) && Listens(mount_port_); });
  EXPECT_TRUE(up) << "nfs-ganesha does not answer (needs root; apt-get install nfs-ganesha nfs-ganesha-vfs rpcbind)";
}

void Ganesha::Kill() {
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
  process_ = -1;
}

// Its threads go on for a moment after the signal.
void Ganesha::Pause() {
  kill(process_, SIGSTOP);
  waitpid(process_, nullptr, WUNTRACED);
}
void Ganesha::Resume() { kill(process_, SIGCONT); }

NfsAddress Ganesha::Address(const std::string& name, int version) const {
  return {.host = "127.0.0.1", .path = folder_ + "/export/" + name, .version = version, .nfs_port = nfs_port_, .mount_port = mount_port_};
}

void Ganesha::MakeFile(const std::string& name, uint64_t bytes) const {
  std::ofstream(Path(name)).flush();
  std::filesystem::resize_file(Path(name), bytes);
}

}  // namespace varve
