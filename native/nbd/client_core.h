// ClientCore: what a ClientDisk asks its server, and which answer belongs to what.
//
//   down ─asked─▶ dialing ─offer─▶ up ─▶ down        what was asked meanwhile waits for the offer, or ends with the dial
//
// Guarantees:
//   - Each operation ends once; with success only when every byte of it was answered, in order and once.
//   - Nothing is written into memory of an operation that has ended.
// Thread: the home loop's.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "io/disk.h"
#include "nbd/client_link.h"

namespace varve::nbd {

// A read, or a search for data. Ends by `done`, on `loop`; then it is gone.
struct ClientOperation {
  EventLoop* loop;
  Completion* done;
  uint64_t offset;
  uint64_t bytes;
  const iovec* iov = nullptr;  // of a read; lent until it ends
  int count = 0;
  DataSearch* search = nullptr;  // of a search; lent until it ends
  unsigned pending = 0;          // requests that were not answered
  Status status{};               // the first error
};

class ClientCore final : public std::enable_shared_from_this<ClientCore>, private ReplySink {
 public:
  ClientCore(EventLoop& home, std::string path, std::string export_name);

  EventLoop& home() { return home_; }
  // dialed: with the first offer, or why there is none.
  void Start(std::function<void(Status)> dialed);
  // In place of Start(): the server is dialed for when something is asked. Before anything else, any thread.
  void Expect(uint64_t size_bytes);
  void Submit(std::unique_ptr<ClientOperation> operation);
  // Nothing may be under way.
  void Close();
  // Once Start() has succeeded, or behind Expect().
  uint64_t size_bytes() const { return offer_.size_bytes; }

 private:
  // What one request asked for.
  struct Asked {
    ClientOperation* operation;
    uint64_t end;
    uint64_t at;  // answered up to here
    bool failed = false;
  };
  struct SilenceTimer : Timer {
    explicit SilenceTimer(ClientCore* owner) : Timer(OnDue), core(owner) {}
    static void OnDue(Timer* self) { static_cast<SilenceTimer*>(self)->core->LookAtSilence(); }
    ClientCore* core;
  };

  void OnGreeting() override;
  void OnOffer(const ServerOffer& offer) override;
  bool OnData(uint64_t cookie, uint64_t offset, std::span<const std::byte> data) override;
  bool OnHole(uint64_t cookie, uint64_t offset, uint64_t bytes) override;
  bool OnExtents(uint64_t cookie, std::span<const Extent> extents) override;
  bool OnError(uint64_t cookie, int error) override;
  bool OnDone(uint64_t cookie) override;

  void Dial();
  void OnDown(Status status);
  void Ask(ClientOperation* operation);
  void AskPiece(ClientOperation* operation, uint64_t at, uint64_t end);
  // What `cookie` asked for when [offset, offset + bytes) is what is answered of it next; else null.
  Asked* Answered(uint64_t cookie, uint64_t offset, uint64_t bytes);
  void EndPiece(ClientOperation* operation, Status status);
  static void End(ClientOperation* operation, Status status);
  void LookAtSilence();

  EventLoop& home_;
  const std::string path_, export_name_;
  std::function<void(Status)> dialed_;
  std::shared_ptr<ClientLink> link_;  // null while down
  bool up_ = false;
  bool known_ = false;  // the size in offer_ is the export's
  ServerOffer offer_;
  uint64_t last_cookie_ = 0;
  std::unordered_map<uint64_t, Asked> asked_;
  std::deque<ClientOperation*> waiting_;  // for an offer
  SilenceTimer timer_{this};
};

}  // namespace varve::nbd
