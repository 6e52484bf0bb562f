// Replies: what goes out for a request that has ended, as a gather list.
//
// A Reply owns the headers; data is pointed to where the target put it, and never copied.
// Invariant: a reply is built in one go, after nothing can fail any more, so its last chunk
// carries DONE and no error follows content.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nbd/protocol.h"
#include "nbd/request_header.h"
#include "volume/block_target.h"

namespace varve::nbd {

// What BLOCK_STATUS tells of one context.
struct ContextStatus {
  uint32_t id;
  std::vector<Extent> extents;
};

class Reply {
 public:
  // Each builds the reply anew. header: the request's.
  void SetDone(const RequestHeader& header, Framing framing);
  void SetRefusal(const RequestHeader& header, Framing framing, const Refusal& refusal);
  // data: header.length bytes as the target left them. extents: cover them; zero runs are filled in where
  // the reply carries them as data. Lent until the reply was sent.
  void SetRead(const RequestHeader& header, Framing framing, std::byte* data, std::span<const Extent> extents);
  // statuses: at least one; copied.
  void SetBlockStatus(const RequestHeader& header, Framing framing, std::span<const ContextStatus> statuses);

  std::span<const iovec> parts() const { return parts_; }
  size_t total_bytes() const { return total_bytes_; }
  // Frees what an unusually large reply took.
  void Clear();

 private:
  struct Run {
    uint64_t offset;  // in the request
    uint64_t length;
    bool hole;
  };

  // Forgets the last reply, and makes room so that headers do not move while parts point to them.
  void Begin(size_t head_bytes);
  std::byte* BeginChunk(const RequestHeader& header, Framing framing, Chunk type, bool done, uint64_t payload_bytes);
  std::byte* TakeHead(size_t bytes);
  void AppendData(std::byte* data, size_t bytes);
  void FindRuns(bool fragment, std::byte* data, uint64_t length, std::span<const Extent> extents);
  void AppendStatus(const RequestHeader& header, Framing framing, const ContextStatus& status, bool last);
  void AppendRun(const RequestHeader& header, Framing framing, const Run& run, bool last, std::byte* data);

  std::vector<std::byte> heads_;
  size_t heads_used_ = 0;
  std::vector<iovec> parts_;
  std::vector<Run> runs_;
  size_t total_bytes_ = 0;
};

}  // namespace varve::nbd
