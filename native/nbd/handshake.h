// Handshake: fixed newstyle negotiation as a state machine over bytes. No sockets, no clock.
//
//   greeting → client flags → option … option → GO or EXPORT_NAME → transmission
//                                └──── ABORT, violation ─────────→ closed
//
// Invariants:
//   - An option's data is taken whole before it is looked at, and exactly its announced length is
//     consumed whatever is in it: no option can desynchronize the stream.
//   - Each option gets exactly one final reply.
//   - One Step answers at most one option, so what a pipelining client can make us
//     hold is one reply.
// Elsewhere: the socket and the time limit (negotiation.h), parsing of option data (option_data.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "nbd/catalog.h"
#include "nbd/contexts.h"
#include "nbd/option_data.h"
#include "nbd/protocol.h"

namespace varve::nbd {

// What the client and we agreed on.
struct Agreement {
  ExportView view;
  Framing framing = Framing::kSimple;
  Selection contexts;
  uint16_t transmission_flags = 0;
};

class Handshake {
 public:
  enum class State { kNegotiating, kTransmission, kClosed };

  // Option data up to here is buffered by the caller and parsed; more is drained and refused.
  static constexpr size_t kOptionBytesMax = 64 << 10;
  // Longer is no mistake but an attack: the connection ends at once.
  static constexpr uint32_t kDrainedOptionBytesMax = 16u << 20;
  // `nbdinfo --list` on the largest servers asks two per export.
  static constexpr unsigned kOptionsMax = 4096;
  // What Step needs at most to get on: the caller's buffer.
  static constexpr size_t kInputBytesMax = kOptionHeaderBytes + kOptionBytesMax;

  explicit Handshake(Catalog& catalog) : catalog_(catalog) {}

  // What the server says first.
  static std::string Greeting();

  // Takes the next client flags, option or drained part from the front of `in`; appends
  // the answer to `out`, which must be sent whatever the new state is.
  // Returns the bytes consumed; 0 means that more are needed (or the state is final).
  size_t Step(std::span<const std::byte> in, std::string* out);

  State state() const { return state_; }
  const Agreement& agreement() const { return agreement_; }  // complete in kTransmission
  const char* close_reason() const { return close_reason_; }

 private:
  using Data = std::span<const std::byte>;

  size_t TakeClientFlags(Data in);
  size_t TakeOption(Data in, std::string* out);
  size_t BeginOversized(uint32_t length);
  size_t DrainOversized(Data in, std::string* out);
  void Answer(Data data, std::string* out);
  void AnswerList(Data data, std::string* out);
  void AnswerInfo(Data data, std::string* out);
  void AnswerExportName(Data data, std::string* out);
  void AnswerFraming(Data data, Framing framing, std::string* out);
  void AnswerMetaContext(Data data, std::string* out);
  bool AppendContext(const ContextQuery& query, std::string_view name, uint32_t id, std::string* out) const;
  bool SelectionIsStale() const;
  bool EnterExport(std::string_view name, std::string* out);
  uint16_t TransmissionFlags(const ExportView& view) const;
  bool SelectedFor(const ExportView& view) const;
  void AppendInfos(const ExportView& view, bool name, bool description, std::string* out) const;
  void AppendReply(OptionReply type, std::string_view payload, std::string* out) const;
  void Close(const char* reason);

  Catalog& catalog_;
  State state_ = State::kNegotiating;
  Agreement agreement_;
  const char* close_reason_ = "";
  bool have_client_flags_ = false;
  uint32_t client_flags_ = 0;
  Option option_{};
  uint64_t drain_bytes_ = 0;
  unsigned options_ = 0;
  Selection selected_;             // for selected_export_
  std::string selected_export_;    // canonical name
};

}  // namespace varve::nbd
