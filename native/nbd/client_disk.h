// ClientDisk: an export of another NBD server as a Disk that is only read (contract: disk.h).
//
//   any loop ──Post──▶ ClientCore, on the home loop ─▶ ClientLink ─▶ unix socket ─▶ server
//
// For images: qemu-nbd knows their formats, and serves what is in them (src/image).
//
// Guarantees beyond the contract:
//   - Writes, discards and zeroing fail with EBADF; Sync has nothing to do.
//   - FindData tells what the server does of base:allocation.
//   - An operation whose connection is lost, or that finds none, ends with ECONNREFUSED, ECONNRESET or ETIMEDOUT; it may be submitted again,
//     and is dialed for anew. A server that comes back with another size is ESTALE.
//   - What is not a correct answer is never given out: the connection ends, with EPROTO for whoever waited. A server that says nothing
//     for kSilenceMax while something is asked is given up.
// Thread: any loop's. Destroyed on any thread while its home runs.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "io/disk.h"

namespace varve::nbd {

class ClientCore;

class ClientDisk final : public Disk {
 public:
  // Longer than qemu itself waits for the servers that images are read from.
  static constexpr std::chrono::milliseconds kSilenceMax{20'000};
  using Opened = std::function<void(Status, std::shared_ptr<ClientDisk>)>;

  // path: of the unix socket. opened: on `home`, not inside the call. ENOENT: no such export. ENOTSUP: no structured replies. Or see above.
  static void Open(EventLoop& home, std::string path, std::string export_name, Opened opened);
  // Of a server that may not be there yet: it is dialed for when something is asked, as after a connection that was lost.
  static std::shared_ptr<ClientDisk> OpenLater(EventLoop& home, std::string path, std::string export_name, uint64_t size_bytes);
  explicit ClientDisk(std::shared_ptr<ClientCore> core);
  ~ClientDisk() override;

  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Sync(EventLoop& loop, Completion* done) override;
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  void FindData(EventLoop& loop, DataSearch* search, Completion* done) override;
  uint64_t size_bytes() const override { return size_bytes_; }

 private:
  const std::shared_ptr<ClientCore> core_;
  const uint64_t size_bytes_;
};

}  // namespace varve::nbd
