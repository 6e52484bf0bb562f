// Request: one command of a client, from its header to the last byte of its reply.
//
//   filling → (held) → submitted → replying → free
//
// While the target holds it for want of space its memory is not counted among that of requests that go on, see Session::Keep().
// Thread: its session's loop.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "io/completion.h"
#include "nbd/buffer_pool.h"
#include "nbd/contexts.h"
#include "nbd/reply.h"
#include "nbd/request_header.h"
#include "volume/block_target.h"

namespace varve::nbd {

class Session;

struct Request : Completion, Holder {
  explicit Request(Fn on_target_done) : Completion(on_target_done) {}

  bool recalls() const override;
  bool LetWait() override;

  uint64_t payload_left_bytes() const { return payload_bytes - payload_taken_bytes; }

  // How much of the rest may be received before more is charged.
  uint64_t payload_room_bytes() const {
    return overdraft ? payload_left_bytes() : std::min(payload_left_bytes(), charged_bytes - payload_taken_bytes);
  }

  Session* session = nullptr;
  RequestHeader header;
  Refusal refusal;  // decided at the header; a refused payload is skipped, not kept
  uint64_t payload_bytes = 0;
  uint64_t payload_taken_bytes = 0;

  Buffer buffer;
  uint64_t room_bytes = 0;     // limits how much of the session's share it uses
  uint64_t charged_bytes = 0;  // taken from the budget
  bool overdraft = false;      // holds the budget's overdraft, and needs no more from it
  uint64_t kept_bytes = 0;     // taken from the budget of those that wait for space, instead of that

  BlockRequest block;
  ContextBits asked = 0;  // by a BLOCK_STATUS, of those selected
  uint64_t write_serial = 0;  // 0: changes nothing

  Reply reply;
  size_t parts_sent = 0;
  size_t part_sent_bytes = 0;
};

}  // namespace varve::nbd
