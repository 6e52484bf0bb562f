// Ganesha: a real NFS server (nfs-ganesha) on a free port of the loopback, serving a temporary folder.
//
// It needs root and rpcbind, which it starts when there is none; that one ends with the test program. Kill() is SIGKILL: what the server had only in its
// memory is gone, what it had written lies in the kernel's cache.
#pragma once

#include <sys/types.h>

#include <string>

#include "io/nfs_address.h"

namespace varve {

class Ganesha {
 public:
  // A file that is there from the beginning.
  struct File {
    std::string name;
    uint64_t bytes;
  };

  Ganesha();
  explicit Ganesha(const File& file);
  ~Ganesha();

  void Start();  // on the same ports each time; returns when it answers
  void Kill();
  void Pause();
  void Resume();

  // Of a file of the export.
  NfsAddress Address(const std::string& name, int version) const;
  // The file as the server's host sees it.
  std::string Path(const std::string& name) const { return folder_ + "/export/" + name; }
  void MakeFile(const std::string& name, uint64_t bytes) const;

 private:
  std::string folder_;
  int nfs_port_, mount_port_;
  pid_t process_ = -1;
};

}  // namespace varve
