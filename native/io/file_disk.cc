#include "io/file_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "io/zero_writer.h"

namespace varve {

namespace {

// A discard that the device or filesystem cannot do has succeeded: it is a hint.
struct DiscardHint : Completion {
  explicit DiscardHint(Completion* outer) : Completion(OnEnd), done(outer) {}
  static void OnEnd(Completion* self, Status status) {
    auto* hint = static_cast<DiscardHint*>(self);
    Completion* done = hint->done;
    delete hint;
    done->Run(status.error() == EOPNOTSUPP ? Status::Ok() : status);
  }
  Completion* done;
};

// The fast way to zero a range, and by writing where there is none.
struct ZeroInPlace : Completion {
  ZeroInPlace(EventLoop& on, int file, uint64_t from, uint64_t length, Completion* outer)
      : Completion(OnEnd), loop(on), fd(file), offset(from), bytes(length), done(outer) {}
  static void OnEnd(Completion* self, Status status) {
    auto* zero = static_cast<ZeroInPlace*>(self);
    bool unsupported = status.error() == EOPNOTSUPP || status.error() == EINVAL;
    if (unsupported) ZeroWriter::Run(zero->loop, zero->fd, zero->offset, zero->bytes, zero->done);
    else zero->done->Run(status);
    delete zero;
  }
  EventLoop& loop;
  int fd;
  uint64_t offset, bytes;
  Completion* done;
};

Status Failed(const char* what) { return Status(errno, what); }

Status MeasureSize(int fd, uint64_t* bytes) {
  struct stat found;
  if (fstat(fd, &found) < 0) return Failed("stat");
  if (S_ISBLK(found.st_mode)) return ioctl(fd, BLKGETSIZE64, bytes) < 0 ? Failed("device size") : Status::Ok();
  if (!S_ISREG(found.st_mode)) return Status(ENOTSUP, "neither a file nor a block device");
  *bytes = static_cast<uint64_t>(found.st_size);
  return Status::Ok();
}

// Below this, writing zeroes into the page cache costs less than fallocate, which
// waits for the range's dirty pages and goes through the filesystem's journal.
constexpr uint64_t kWrittenZeroesMax = 64 * 1024;

// A file in more pieces is looked through in several searches.
constexpr size_t kDataRunsMax = 4096;

// Where `whence` finds something next, at most `end`; `end` too when nothing is there.
Status Seek(int fd, uint64_t from, uint64_t end, int whence, uint64_t* found) {
  off_t at = lseek(fd, static_cast<off_t>(from), whence);
  if (at < 0 && errno != ENXIO) return Status(errno, "look for data");
  *found = at < 0 ? end : std::min(end, static_cast<uint64_t>(at));
  return Status::Ok();
}

// A filesystem that does not know better says that all is data; a block device cannot be asked (EINVAL).
Status FindFileData(int fd, DataSearch* search) {
  search->runs.clear();
  const uint64_t end = search->offset + search->bytes;
  for (uint64_t at = search->offset; at < end;) {
    uint64_t data = end, hole = end;
    Status status = Seek(fd, at, end, SEEK_DATA, &data);
    if (status.error() == EINVAL) {
      search->runs.push_back({at, end - at});
      break;
    }
    if (!status.ok()) return status;
    if (data == end) break;
    if (Status status = Seek(fd, data, end, SEEK_HOLE, &hole); !status.ok()) return status;
    search->runs.push_back({data, hole - data});
    at = hole;
    if (search->runs.size() < kDataRunsMax) continue;
    search->bytes = at - search->offset;
    break;
  }
  return Status::Ok();
}

}  // namespace

FileDisk::FileDisk(Parts parts) : parts_(std::move(parts)), sync_(parts_.fd.get()) {}

void FileDisk::Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  loop.ReadFile(parts_.fd.get(), iov, count, offset, done);
}

void FileDisk::Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  if (RefuseAfterFailure(loop, done)) return;
  loop.WriteFile(parts_.fd.get(), iov, count, offset, done);
}

void FileDisk::Sync(EventLoop& loop, Completion* done) { sync_.Sync(loop, done); }

void FileDisk::Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  uint64_t sector = parts_.sector_bytes;
  uint64_t start = (offset + sector - 1) / sector * sector;
  uint64_t end = (offset + bytes) / sector * sector;
  if (start >= end) return loop.Complete(done, Status::Ok());
  loop.ZeroFile(parts_.fd.get(), start, end - start, true, new DiscardHint(done));
}

void FileDisk::WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  if (RefuseAfterFailure(loop, done)) return;
  int fd = parts_.fd.get();
  if (bytes <= kWrittenZeroesMax || !InSectors(offset, bytes)) {
    return ZeroWriter::Run(loop, fd, offset, bytes, done);
  }
  loop.ZeroFile(fd, offset, bytes, false, new ZeroInPlace(loop, fd, offset, bytes, done));
}

void FileDisk::FindData(EventLoop& loop, DataSearch* search, Completion* done) {
  loop.RunBlocking([fd = parts_.fd.get(), search] { return FindFileData(fd, search); }, done);
}

void FileDisk::WriteBack(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  // It does not wait for the device: to wait would take away the error that the next Sync is to report.
  auto work = [fd = parts_.fd.get(), offset, bytes] {
    sync_file_range(fd, static_cast<off64_t>(offset), static_cast<off64_t>(bytes), SYNC_FILE_RANGE_WRITE);
    return Status::Ok();
  };
  loop.RunBlocking(work, done);
}

void FileDisk::Measure(EventLoop& loop, uint64_t* bytes, Completion* done) {
  loop.RunBlocking([fd = parts_.fd.get(), bytes] { return MeasureSize(fd, bytes); }, done);
}

bool FileDisk::RefuseAfterFailure(EventLoop& loop, Completion* done) {
  if (!sync_.failed()) return false;
  loop.Complete(done, Status(EIO, "write after a failed sync"));
  return true;
}

bool FileDisk::InSectors(uint64_t offset, uint64_t bytes) const {
  return (offset | bytes) % parts_.sector_bytes == 0;
}

// ---- opening

namespace {

Status Lock(int fd, bool shared) {
  int mode = shared ? LOCK_SH : LOCK_EX;
  return flock(fd, mode | LOCK_NB) == 0 ? Status::Ok() : Failed("lock");
}

// O_EXCL without O_CREAT claims a block device for this open file. I/O goes through the
// claim: discarding through another one of the same device is refused (EBUSY).
Status Claim(const std::string& path, bool read_only, FileDisk::Parts* parts) {
  UniqueFd claim(open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_EXCL));
  if (!claim.valid()) return Failed("claim the device");
  parts->lock = std::exchange(parts->fd, std::move(claim));
  return Status::Ok();
}

Status Measure(const std::string& path, bool read_only, bool shared, FileDisk::Parts* parts) {
  struct stat found;
  if (Status status = MeasureSize(parts->fd.get(), &parts->size_bytes); !status.ok()) return status;
  if (fstat(parts->fd.get(), &found) < 0) return Failed("stat");
  if (S_ISREG(found.st_mode)) return Status::Ok();
  int sector = 0;
  if (ioctl(parts->fd.get(), BLKSSZGET, &sector) < 0) return Failed("sector size");
  parts->sector_bytes = static_cast<uint32_t>(sector);
  return shared ? Status::Ok() : Claim(path, read_only, parts);
}

}  // namespace

Status OpenFileDisk(const std::string& path, bool read_only, std::shared_ptr<Disk>* out, Sharing sharing) {
  const bool shared = read_only && sharing == Sharing::kReaders;
  FileDisk::Parts parts;
  // O_NONBLOCK, lest a pipe at this path holds up the opening; it means nothing for the rest.
  int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  parts.fd = UniqueFd(open(path.c_str(), flags));
  if (!parts.fd.valid()) return Failed("open");
  if (Status status = Lock(parts.fd.get(), shared); !status.ok()) return status;
  if (Status status = Measure(path, read_only, shared, &parts); !status.ok()) return status;
  // Left set, io_uring might answer EAGAIN instead of waiting for the disk.
  if (fcntl(parts.fd.get(), F_SETFL, 0) < 0) return Failed("open");
  *out = std::make_shared<FileDisk>(std::move(parts));
  return Status::Ok();
}

}  // namespace varve
