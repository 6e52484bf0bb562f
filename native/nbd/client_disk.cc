#include "nbd/client_disk.h"

#include <utility>

#include "nbd/client_core.h"

namespace varve::nbd {

namespace {

constexpr Status kOnlyRead(EBADF, "write to an NBD export that is only read");

uint64_t Sum(const iovec* iov, int count) {
  uint64_t bytes = 0;
  for (int i = 0; i < count; ++i) bytes += iov[i].iov_len;
  return bytes;
}

// core: outlives what is under way.
void Submit(ClientCore* core, const ClientOperation& operation) {
  auto taken = std::make_unique<ClientOperation>(operation);
  if (core->home().OnLoopThread()) return core->Submit(std::move(taken));
  core->home().Post([core, raw = taken.release()] { core->Submit(std::unique_ptr<ClientOperation>(raw)); });
}

}  // namespace

void ClientDisk::Open(EventLoop& home, std::string path, std::string export_name, Opened opened) {
  auto core = std::make_shared<ClientCore>(home, std::move(path), std::move(export_name));
  home.Post([core, opened = std::move(opened)] {
    core->Start([core, opened](Status status) {
      // From outside of the connection, which may go with the disk.
      core->home().Post([core, opened, status] {
        if (status.ok()) return opened(status, std::make_shared<ClientDisk>(core));
        core->Close();
        opened(status, nullptr);
      });
    });
  });
}

std::shared_ptr<ClientDisk> ClientDisk::OpenLater(EventLoop& home, std::string path, std::string export_name, uint64_t size_bytes) {
  auto core = std::make_shared<ClientCore>(home, std::move(path), std::move(export_name));
  core->Expect(size_bytes);
  return std::make_shared<ClientDisk>(std::move(core));
}

ClientDisk::ClientDisk(std::shared_ptr<ClientCore> core) : core_(std::move(core)), size_bytes_(core_->size_bytes()) {}

ClientDisk::~ClientDisk() {
  core_->home().Post([core = core_] { core->Close(); });
}

void ClientDisk::Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  Submit(core_.get(), {.loop = &loop, .done = done, .offset = offset, .bytes = Sum(iov, count), .iov = iov, .count = count});
}

void ClientDisk::FindData(EventLoop& loop, DataSearch* search, Completion* done) {
  search->runs.clear();
  Submit(core_.get(), {.loop = &loop, .done = done, .offset = search->offset, .bytes = search->bytes, .search = search});
}

void ClientDisk::Write(EventLoop& loop, uint64_t, const iovec*, int, Completion* done) { loop.Complete(done, kOnlyRead); }

void ClientDisk::Sync(EventLoop& loop, Completion* done) { loop.Complete(done, Status::Ok()); }

void ClientDisk::Discard(EventLoop& loop, uint64_t, uint64_t, Completion* done) { loop.Complete(done, kOnlyRead); }

void ClientDisk::WriteZeroes(EventLoop& loop, uint64_t, uint64_t, Completion* done) { loop.Complete(done, kOnlyRead); }

}  // namespace varve::nbd
