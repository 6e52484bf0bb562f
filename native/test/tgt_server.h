// TgtServer: a real iSCSI target (tgtd) in user space, on a free loopback port, with LUNs on temporary files.
//
// It can be killed, started again with the same LUNs, stopped in its tracks and let go on. Nothing of it is left afterwards.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "io/iscsi_disk.h"

namespace varve {

class TgtServer {
 public:
  struct Lun {
    uint64_t size_bytes = 8 << 20;
    unsigned block_bytes = 512;
    bool thin = false;
    bool read_only = false;
    bool write_cache = true;
  };
  struct Account {
    std::string user, secret;
  };

  // targets: how many target numbers stand before ours; they are part of the LUNs' names in the world.
  explicit TgtServer(unsigned target_number = 1);
  ~TgtServer();

  // Adds a LUN of zeroes; returns its number.
  unsigned AddLun(const Lun& lun);
  std::string BackingFile(unsigned lun) const;
  // Demands CHAP of every login; with `own`, also proves itself.
  void SetAccounts(const Account& incoming, const Account& own = {});

  void Kill();   // kill -9
  void Start();
  void Pause();  // SIGSTOP
  void Resume();

  std::string portal() const { return "127.0.0.1:" + std::to_string(port_); }
  unsigned port() const { return port_; }
  // How our tests address the LUN; short limits, so that failures are noticed within a test.
  IscsiTarget Target(unsigned lun) const;

 private:
  // Names the socket of tgtadm; tgtd takes 15 bits.
  std::string control_port() const { return std::to_string(port_ % 32768); }
  void Spawn();
  void Configure();
  void CreateLun(unsigned number, const Lun& lun);
  // Runs tgtadm; a failure fails the test.
  void Admin(const std::string& arguments) const;

  const unsigned target_number_;
  std::string folder_;
  unsigned port_;
  pid_t pid_ = -1;
  std::map<unsigned, Lun> luns_;
  std::vector<std::string> accounts_;  // tgtadm's arguments
};

// A port of 127.0.0.1 that nobody listens on.
unsigned FreePort();

struct OpenResult {
  Status status;
  OpenedIscsiDisk opened;
};
// Opens and waits.
OpenResult OpenIscsi(EventLoop& home, const IscsiTarget& target, bool read_only = false, IscsiPathsObserver on_paths = nullptr);

}  // namespace varve
