#include "io/zero_writer.h"

#include <algorithm>
#include <cstddef>

namespace varve {

namespace {
alignas(4096) std::byte zeroes[kZeroBytes];
}  // namespace

std::byte* ZeroBytes() { return zeroes; }

void ZeroWriter::Run(EventLoop& loop, int fd, uint64_t offset, uint64_t bytes, Completion* done) {
  if (bytes == 0) return loop.Complete(done, Status::Ok());
  (new ZeroWriter(loop, fd, offset, bytes, done))->Next();
}

ZeroWriter::ZeroWriter(EventLoop& loop, int fd, uint64_t offset, uint64_t bytes, Completion* done)
    : Completion(OnPiece), loop_(loop), fd_(fd), offset_(offset), bytes_left_(bytes), done_(done) {}

void ZeroWriter::Next() {
  piece_ = {zeroes, std::min(bytes_left_, kZeroBytes)};
  loop_.WriteFile(fd_, &piece_, 1, offset_, this);
}

void ZeroWriter::OnPiece(Completion* self, Status status) {
  auto* writer = static_cast<ZeroWriter*>(self);
  writer->offset_ += writer->piece_.iov_len;
  writer->bytes_left_ -= writer->piece_.iov_len;
  if (status.ok() && writer->bytes_left_ > 0) return writer->Next();
  Completion* done = writer->done_;
  delete writer;
  done->Run(status);
}

}  // namespace varve
