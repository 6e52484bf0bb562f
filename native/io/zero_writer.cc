#include "io/zero_writer.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace varve {

namespace {
alignas(4096) std::byte zeroes[kZeroBytes];
}  // namespace

std::byte* ZeroBytes() { return zeroes; }

void ZeroWriter::Run(EventLoop& loop, Write write, uint64_t offset, uint64_t bytes, Completion* done) {
  if (bytes == 0) return loop.Complete(done, Status::Ok());
  (new ZeroWriter(std::move(write), offset, bytes, done))->Next();
}

void ZeroWriter::Run(EventLoop& loop, int fd, uint64_t offset, uint64_t bytes, Completion* done) {
  auto write = [&loop, fd](uint64_t at, const iovec* zero, int count, Completion* written) {
    loop.WriteFile(fd, zero, count, at, written);
  };
  Run(loop, write, offset, bytes, done);
}

ZeroWriter::ZeroWriter(Write write, uint64_t offset, uint64_t bytes, Completion* done)
    : Completion(OnPiece), write_(std::move(write)), offset_(offset), bytes_left_(bytes), done_(done) {}

void ZeroWriter::Next() {
  size_t count = 0;
  piece_bytes_ = 0;
  while (count < kBuffers && piece_bytes_ < bytes_left_) {
    piece_[count] = {zeroes, std::min(bytes_left_ - piece_bytes_, kZeroBytes)};
    piece_bytes_ += piece_[count++].iov_len;
  }
  write_(offset_, piece_.data(), static_cast<int>(count), this);
}

void ZeroWriter::OnPiece(Completion* self, Status status) {
  auto* writer = static_cast<ZeroWriter*>(self);
  writer->offset_ += writer->piece_bytes_;
  writer->bytes_left_ -= writer->piece_bytes_;
  if (status.ok() && writer->bytes_left_ > 0) return writer->Next();
  Completion* done = writer->done_;
  delete writer;
  done->Run(status);
}

}  // namespace varve
