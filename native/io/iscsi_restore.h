// IscsiRestore: writes the copies of unsynced writes again, one after the other, over a new session.
//
// Nothing else is written meanwhile, so that no later write is overwritten.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "io/scsi_exchange.h"
#include "io/unsynced_writes.h"

namespace varve {

class IscsiRestore {
 public:
  struct Shape {
    uint32_t block_bytes;
    uint64_t transfer_bytes_max;
    std::chrono::milliseconds patience;
  };
  using Done = std::function<void(Status)>;

  // writes: unchanged until `done`, which runs once, unless the object goes first.
  IscsiRestore(EventLoop& loop, Shape shape, const UnsyncedWrites& writes, std::shared_ptr<IscsiSession> session, Done done);
  void Start();

 private:
  struct Rewrite : ScsiExchange {
    Rewrite(EventLoop& loop, IscsiRestore* owner) : ScsiExchange(loop, OnAnswer), restore(owner) { NeedsAll(); }
    static void OnAnswer(ScsiExchange* self, const ScsiOutcome& outcome);
    IscsiRestore* restore;
  };

  void Next();
  void Gather(const UnsyncedWrites::Piece& piece);
  void Finish(Status status);

  EventLoop& loop_;
  const Shape shape_;
  const UnsyncedWrites& writes_;
  const std::shared_ptr<IscsiSession> session_;
  Done done_;
  Rewrite rewrite_;
  uint64_t at_ = 0;
  std::vector<iovec> pieces_;
};

}  // namespace varve
