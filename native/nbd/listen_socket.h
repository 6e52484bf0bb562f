// Listening sockets: made, found stale, replaced, removed.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/status.h"
#include "io/unique_fd.h"
#include "nbd/server.h"

namespace varve::nbd {

struct ListenSocket {
  UniqueFd fd;
  uint16_t port = 0;  // TCP
  // Unix: the path and the inode it had when it was ours.
  std::string path;
  dev_t device = 0;
  ino_t inode = 0;
};

// Errors: as Server::AddListener.
Status OpenListenSocket(const ListenAddress& address, ListenSocket* socket);

// Removes the socket's path unless another has taken its place.
void RemovePath(const ListenSocket& socket);

// Sets what a stream of requests wants on an accepted descriptor, and says who is at its other end.
void PrepareClientSocket(int fd);
std::string PeerAddress(int fd);

}  // namespace varve::nbd
