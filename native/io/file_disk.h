// FileDisk: a regular file or a block device as a Disk (contract: disk.h).
//
// Guarantees beyond the contract:
//   - One owner: the file is locked (flock), a block device is also claimed, which a
//     mounted filesystem or another device mapper forbids.
//   - size_bytes() is the size found on opening; Measure() asks again.
// Thread: any loop's.
#pragma once

#include <string>

#include "io/disk.h"
#include "io/sync_gate.h"
#include "io/unique_fd.h"

namespace varve {

// With whom one who only reads shares; who writes never shares.
enum class Sharing { kReaders, kNobody };

// Opens the file or block device at `path` and takes its lock: exclusive, or shared
// when it is shared with readers; a block device that is not shared is claimed too. *out is set only on success.
// EWOULDBLOCK: another process or another Disk has it open. EBUSY: the block device is mounted or
// claimed. ENOTSUP: it is neither file nor block device. Else the errno of open.
Status OpenFileDisk(const std::string& path, bool read_only, std::shared_ptr<Disk>* out,
                    Sharing sharing = Sharing::kReaders);

class FileDisk final : public Disk {
 public:
  struct Parts {
    UniqueFd fd{};
    UniqueFd lock{};  // of a block device, beside the claiming fd
    uint64_t size_bytes = 0;
    uint32_t sector_bytes = 1;  // 1 for files: unit of discarding and of zeroing in place
  };
  explicit FileDisk(Parts parts);

  void Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) override;
  void Sync(EventLoop& loop, Completion* done) override;
  void Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  void WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  void FindData(EventLoop& loop, DataSearch* search, Completion* done) override;
  void WriteBack(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) override;
  uint64_t size_bytes() const override { return parts_.size_bytes; }
  void Measure(EventLoop& loop, uint64_t* bytes, Completion* done) override;

 private:
  bool RefuseAfterFailure(EventLoop& loop, Completion* done);
  bool InSectors(uint64_t offset, uint64_t bytes) const;

  Parts parts_;
  SyncGate sync_;
};

}  // namespace varve
