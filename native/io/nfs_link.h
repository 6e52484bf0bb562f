// NfsLink: one file on an NFS server, reached when it is wanted.
//
//   down ─Want─▶ dialing ─▶ up ─▶ down        after a failure the next Want() dials again
//
// Guarantees:
//   - Up means: the same file as the first time (filesystem, file number, not smaller than it ever was), by a handle that was just looked up; a stale
//     handle is healed by dialing again.
//   - on_up and on_down run from the loop. on_down: the dial failed, or the connection is gone and each unanswered call was told so before.
//   - After a connection with unanswered writes broke, the next one is dialed a second later: a server that lives is done by then
//     with what it still had from the old one, which must not come after newer writes.
//   - A dial that takes longer than 10 s has failed with ETIMEDOUT.
// Thread: the loop's.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>

#include "io/nfs_dial.h"

namespace varve {

class NfsLink {
 public:
  NfsLink(const NfsLibrary& library, EventLoop& loop, NfsAddress address);
  ~NfsLink();

  std::function<void()> on_up;
  std::function<void(Status)> on_down;

  void Want();
  bool up() const { return state_ == State::kUp; }
  // Gives the connection up; on_down follows. Not inside a call's answer.
  void Drop(Status status);
  // A call was not answered: nothing may be asked of this connection any more, which ends in a later turn.
  void Lost();
  // As Drop, and for good: nothing is dialed any more.
  void Close();
  // For the next dial, see above.
  void WritesWereUnanswered() { pause_before_dial_ = true; }
  // The file was seen with so many bytes, which may be used: it must not come back with fewer.
  void Measured(uint64_t bytes) { attributes_.size_bytes = std::max(attributes_.size_bytes, bytes); }

  // While up.
  NfsRpc& rpc() { return *rpc_; }
  NfsProtocol& protocol() { return protocol_; }
  const NfsHandle& file() const { return file_; }
  const NfsLimits& limits() const { return limits_; }

  // Once it was up; the largest that was seen.
  uint64_t size_bytes() const { return attributes_.size_bytes; }
  // The same for every name of the file, however it is reached.
  std::string identity() const;

 private:
  enum class State : uint8_t { kDown, kDialing, kUp, kLost, kEnding };
  // A question of the link itself.
  struct Question : NfsCall {
    using Answered = void (NfsLink::*)(const NfsReply& reply);
    Question(NfsLink* owner, Answered then) : NfsCall(OnDone), link(owner), answered(then) {}
    static void OnDone(NfsCall* self, const NfsReply& reply) {
      auto* question = static_cast<Question*>(self);
      if (!question->link->closing_) (question->link->*question->answered)(reply);
    }
    NfsLink* link;
    Answered answered;
  };
  struct LinkTimer : Timer {
    explicit LinkTimer(NfsLink* owner) : Timer(OnDue), link(owner) {}
    static void OnDue(Timer* self) { static_cast<LinkTimer*>(self)->link->OnTimer(); }
    NfsLink* link;
  };

  void Dial();
  void OnTimer();
  void OnDialed(Status status, NfsReached reached);
  void OnFound(const NfsReply& reply);
  void OnLimits(const NfsReply& reply);
  int Recognize(const NfsAttributes& found);
  void FailLater(Status status);

  const NfsLibrary& library_;
  EventLoop& loop_;
  const NfsAddress address_;
  NfsProtocol& protocol_;
  State state_ = State::kDown;
  uint64_t connections_ = 0;
  bool pause_before_dial_ = false;
  bool closing_ = false;
  bool known_ = false;  // attributes_ are those of the first time
  NfsAttributes attributes_;
  std::string peer_;
  std::unique_ptr<NfsDial> dial_;
  std::unique_ptr<NfsRpc> rpc_;
  NfsHandle file_;
  NfsLimits limits_;
  Question find_{this, &NfsLink::OnFound}, ask_limits_{this, &NfsLink::OnLimits};
  LinkTimer timer_{this};  // ends the pause, or the dial
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace varve
