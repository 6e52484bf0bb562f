#include "io/nfs_disk.h"

#include <mutex>
#include <set>
#include <utility>

#include "io/zero_writer.h"

namespace varve {

namespace {

// Files that are open here and not to be shared.
std::mutex claims_mutex;
std::set<std::string> claims;  // by claims_mutex

}  // namespace

// ---- opening

void NfsDisk::Open(EventLoop& home, NfsAddress address, Access access, Opened opened) {
  home.Post([&home, address = std::move(address), access, opened = std::move(opened)] {
    const NfsLibrary* library = nullptr;
    if (Status status = NfsLibrary::Load(&library); !status.ok()) return opened(status, nullptr);
    auto file = std::make_shared<NfsFile>(*library, home, address);
    file->Open([&home, file, access, opened](Status status) {
      // From outside of the connection, which may go with the file.
      home.Post([file, status, access, opened] {
        if (!status.ok()) return opened(status, nullptr);
        std::shared_ptr<NfsDisk> disk(new NfsDisk(file, access));
        if (disk->Claim()) opened(Status::Ok(), std::move(disk));
        else opened(Status(EWOULDBLOCK, "lock"), nullptr);
      });
    });
  });
}

NfsDisk::NfsDisk(std::shared_ptr<NfsFile> file, Access access)
    : home_(file->loop()), file_(std::move(file)), access_(access), size_bytes_(file_->size_bytes()), identity_(file_->identity()) {}

bool NfsDisk::Claim() {
  if (access_.read_only && !access_.alone) return true;
  std::lock_guard lock(claims_mutex);
  claimed_ = claims.insert(identity_).second;
  return claimed_;
}

NfsDisk::~NfsDisk() {
  if (claimed_) {
    std::lock_guard lock(claims_mutex);
    claims.erase(identity_);
  }
  home_.Post([file = std::move(file_)]() mutable { file.reset(); });
}

// ---- operations

void NfsDisk::Submit(EventLoop& loop, NfsOperation::Kind kind, uint64_t offset, const iovec* iov, int count,
                     Completion* done) {
  auto operation = std::make_unique<NfsOperation>(NfsOperation{.kind = kind, .loop = &loop, .done = done});
  operation->offset = offset;
  operation->iov = iov;
  operation->count = count;
  for (int i = 0; i < count; ++i) operation->bytes += iov[i].iov_len;
  Submit(std::move(operation));
}

void NfsDisk::Submit(std::unique_ptr<NfsOperation> operation) {
  if (operation->loop == &home_) return file_->Submit(std::move(operation));
  home_.Post([file = file_.get(), taken = operation.release()] { file->Submit(std::unique_ptr<NfsOperation>(taken)); });
}

void NfsDisk::Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  Submit(loop, NfsOperation::Kind::kRead, offset, iov, count, done);
}

void NfsDisk::Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  if (!RefuseWrite(loop, done)) Submit(loop, NfsOperation::Kind::kWrite, offset, iov, count, done);
}

void NfsDisk::Sync(EventLoop& loop, Completion* done) { Submit(loop, NfsOperation::Kind::kSync, 0, nullptr, 0, done); }

void NfsDisk::Measure(EventLoop& loop, uint64_t* bytes, Completion* done) {
  auto operation = std::make_unique<NfsOperation>(NfsOperation{.kind = NfsOperation::Kind::kMeasure, .loop = &loop, .done = done});
  operation->measured = bytes;
  Submit(std::move(operation));
}

void NfsDisk::Discard(EventLoop& loop, uint64_t, uint64_t, Completion* done) { loop.Complete(done, Status::Ok()); }

void NfsDisk::WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  if (RefuseWrite(loop, done)) return;
  ZeroWriter::Run(loop, [this, &loop](uint64_t at, const iovec* zeroes, int count, Completion* written) {
    Write(loop, at, zeroes, count, written);
  }, offset, bytes, done);
}

bool NfsDisk::RefuseWrite(EventLoop& loop, Completion* done) {
  if (access_.read_only) loop.Complete(done, Status(EBADF, "write to a disk opened for reading"));
  return access_.read_only;
}

}  // namespace varve
