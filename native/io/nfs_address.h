// NfsAddress: where a file on an NFS server is.
#pragma once

#include <string>

namespace varve {

struct NfsAddress {
  std::string host;  // a name or an address; an IPv6 address may stand in brackets
  std::string path;  // absolute, on the server
  int version = 3;   // or 4
  int nfs_port = 0;    // 0: 2049
  int mount_port = 0;  // v3; 0: the server's rpcbind is asked

  std::string folder() const {
    size_t slash = path.rfind('/');
    return slash == 0 ? "/" : path.substr(0, slash);
  }
  std::string name() const { return path.substr(path.rfind('/') + 1); }
};

}  // namespace varve
