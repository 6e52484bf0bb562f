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
  std::string host;   // TCP, as it was asked for
  uint16_t port = 0;  // TCP
  // Unix: the path and the inode it had when it was ours.
  std::string path;
  dev_t device = 0;
  ino_t inode = 0;
};

// True when `socket`, which another process has opened, is what OpenListenSocket() of `address` would give.
bool ListensOn(const ListenSocket& socket, const ListenAddress& address);

// Errors: as Server::AddListener.
Status OpenListenSocket(const ListenAddress& address, ListenSocket* socket);

// Removes the socket's path unless another has taken its place.
void RemovePath(const ListenSocket& socket);

// Sets what a stream of requests wants on an accepted descriptor, and says who is at its other end.
void PrepareClientSocket(int fd);
std::string PeerAddress(int fd);

}  // namespace varve::nbd
