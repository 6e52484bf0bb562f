// Journal: the one order of a pool's map changes, and group commit.
//
//   ring on each replica:   . . [tail ####### head) . .      positions only grow
//
//   a round:  seal deltas → sync every dirty disk → write records → sync replicas
//             → answer flushes → hand the durable records over
//
//   A disk that does not answer its sync is left behind (data_syncs.h): changes that point to it are held, with later ones of
//   their slots and with the batches; everything else goes on, flushes included that are about other disks only.
//
// Invariants:
//   1. A record is written only after the data its deltas point to is durable: a delta is
//      appended when its data write completed, the sync comes after the seal.
//   3. A flush is answered only by a round that began after the writes it covers completed.
//   -  A failed sync of data, or a record that no replica takes, ends the journal: everything after it fails with EIO. It is
//      never retried, because the kernel may have dropped the pages it could not write; for the same reason
//      the pending log does not survive it.
//   -  Records are durable in the order of their sequence; one round is under way at a time.
//   -  A batch is durable behind every change appended before it. Changes appended after it may become durable first: whoever gives a
//      batch lets nothing happen that builds on it before it is durable.
//   -  A replica holds every durable record from the tail on, from the moment it is begun, between two rounds, until it is ended.
// Thread: rounds run on the home loop; everything public but Open may be called on any thread.
// Elsewhere: writing to all replicas, and which of them lag (ring_writer.h), the copy that begins one (ring_copy.h), pending deltas (pending_log.h), bytes of a record (record.h), the fold (src/pool).
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "journal/data_syncs.h"
#include "journal/disk_table.h"
#include "journal/flush_wait.h"
#include "journal/held_deltas.h"
#include "journal/pending_log.h"
#include "journal/record.h"
#include "journal/ring_writer.h"

namespace varve {

struct JournalSpec {
  uint8_t pool_uuid[16];
  uint64_t epoch;
  std::vector<JournalReplica> replicas;
  uint64_t ring_bytes;
  uint64_t head;
  uint64_t tail;
  uint64_t sequence;  // of the next record
  std::string pending_log_path;
  unsigned window_ms;  // unflushed changes become durable within this
};

// One durable record, as it is handed over.
struct DurableRecord {
  uint64_t sequence;
  uint64_t head;            // ring position behind it
  uint64_t serial;          // of its last delta; 0 for a batch, and while some before it are held
  std::vector<Delta> deltas;
  uint64_t token;           // of a batch given to AppendRecord, else 0
};

class JournalObserver {
 public:
  virtual ~JournalObserver() = default;
  // On the home loop, in order of sequence, before the flushes of that round are answered.
  virtual void OnDurable(DurableRecord record) = 0;
  // The ring has no room: rounds wait for Trim().
  virtual void OnJournalFull() = 0;
  virtual void OnJournalFailed(Status status) = 0;
  // The round waits for them until they answer or their replicas are ended. Told again as long as it does.
  virtual void OnReplicasLag(std::vector<LaggingReplica> lagging) = 0;
  // A round ended: room in the pending log may be free again.
  virtual void OnRoundEnd() = 0;
};

class Journal {
 public:
  Journal(EventLoop* home, DiskTable* disks, JournalObserver* observer);

  Status Open(const JournalSpec& spec);

  // Room for deltas, see PendingLog.
  bool Reserve(uint32_t count) { return pending_.Reserve(count); }
  void Forfeit(uint32_t count) { pending_.Forfeit(count); }
  // Appends one delta; the data it points to has been written. Returns its serial.
  uint64_t Append(const Delta& delta);

  // A data write completed on `disk`. Call before Stamp().
  void NoteWrite(unsigned disk);
  // The round that has to end for everything noted and appended so far to be durable.
  uint64_t Stamp() const { return started_.load() + 1; }
  // That round has ended, and left no disk behind.
  bool RoundEnded(uint64_t round) const { return ended_.load() >= round; }

  // Runs wait->done once a round from that one on has ended and what the wait is about is durable (EIO if it cannot be), starting one if need be.
  void WaitForRound(FlushWait* wait);

  // Appends a record given by the control plane; it becomes durable in order. `done` gets its sequence on the home loop.
  void AppendRecord(RecordKind kind, std::vector<uint8_t> payload, uint64_t token, std::function<void(Status, uint64_t sequence)> done);

  // Makes what is pending durable soon, whoever waits for it.
  void RequestRound();

  // Runs `work` on the home loop between two rounds; the next one begins after it has called `resume`. Also when the journal failed.
  void BetweenRounds(std::function<void(std::function<void()> resume)> work);
  // Takes the disk out of the table between two rounds, when it is not behind. Nothing lies on it. `done` on the home loop.
  void RemoveDisk(unsigned disk, std::function<void()> done);
  // The disk gets what the ring holds, then every record. `done` on the home loop; not ok: it is no replica, nothing else has changed.
  // EBUSY: something that an ended replica had not answered is still on its way there. ETIMEDOUT: the disk does not answer.
  void BeginReplica(const JournalReplica& replica, std::function<void(Status)> done);
  // Nothing more is written to the ring on that disk, which need not have one; the round under way goes on without it. Another replica
  // remains. `done` on the home loop, when nothing is on its way there any more.
  void EndReplica(unsigned disk, std::function<void()> done);

  // Records before `tail` are no longer needed.
  void Trim(uint64_t tail);
  // Ends the journal as a failed sync would: nothing is written but what was submitted already. Once is enough.
  void Stop(Status status);
  // Calls `done` on the home loop once nothing is pending or under way, and ends the window timer.
  void Close(std::function<void()> done);

  bool failed() const { return failed_.load(); }
  // All deltas up to this serial were handed to the observer.
  uint64_t published_serial() const { return published_serial_.load(); }
  // So were records up to this sequence, among them the one with published_serial() if that was read before.
  uint64_t published_sequence() const { return published_sequence_.load(); }

 private:
  struct Batch {
    RecordKind kind;
    std::vector<uint8_t> payload;
    uint64_t token;
    uint64_t after_serial;  // its place among the deltas
    std::function<void(Status, uint64_t)> done;
  };
  // The record of the step under way.
  struct Written {
    DurableRecord durable;
    std::vector<uint64_t> apart;  // the serials of its deltas, when some are held; else empty
    std::function<void(Status, uint64_t)> done;
  };
  struct BetweenWork {
    std::optional<unsigned> disk;  // must not be behind
    std::function<void(std::function<void()>)> run;
  };
  struct WindowTimer : Timer {
    explicit WindowTimer(Journal* owner) : Timer(&OnTimer), owner(owner) {}
    static void OnTimer(Timer* self);
    Journal* owner;
  };

  void ArmWindow();
  void StartRound();
  void SyncData();
  void OnLateSync(Status status);
  void NextStep();
  bool EncodeStep();
  bool HasRoom(size_t payload_bytes);
  bool EncodeBatch();
  bool EncodeSealed(uint64_t through);
  void EncodeApart(const std::vector<SerialDelta>& apart);
  void EncodeDeltas(uint64_t last_serial, std::vector<Delta> deltas, std::vector<uint64_t> apart);
  RecordPlace NextPlace() const { return {spec_.pool_uuid, spec_.epoch, spec_.sequence, spec_.head}; }
  void AddStep(Written written);
  void SettleSerials(const Written& written);
  void WriteStep();
  void FinishStep(Status status);
  void EndRound();
  void AddWork(BetweenWork work);
  bool WorkBetweenRounds();
  void GoOn();
  bool IsMoreWaiting();
  void StopNow(Status status);
  void Fail(Status status);
  void RefuseAll(Status status);
  void EndClose();
  void AnswerWaiters(const std::function<bool(const FlushWait&)>& is_due, Status status);
  size_t DeltasPerStep() const;

  EventLoop* const home_;
  DiskTable* const disks_;
  JournalObserver* const observer_;
  JournalSpec spec_;
  PendingLog pending_;

  std::atomic<uint64_t> started_{0};
  std::atomic<uint64_t> ended_{0};
  std::atomic<uint64_t> published_serial_{0};
  std::atomic<uint64_t> published_sequence_{0};
  std::atomic<bool> failed_{false};
  std::atomic<bool> window_armed_{false};
  std::atomic<bool> round_requested_{false};

  std::mutex mutex_;  // waiters_, batches_
  std::vector<FlushWait*> waiters_;
  std::deque<Batch> batches_;

  // Home loop only.
  bool running_ = false;
  bool waiting_for_room_ = false;
  std::deque<BetweenWork> between_rounds_;
  uint64_t sealed_serial_ = 0;
  uint64_t taken_serial_ = 0;  // changes up to here became records, or are held
  std::deque<Batch> round_batches_;  // in their order; they wait while a disk is behind
  DataSyncs syncs_;
  RingWriter ring_;
  HeldDeltas held_;
  const HeldDeltas::Blocks blocks_ = [this](unsigned disk, uint64_t round) { return syncs_.Blocks(disk, round); };
  std::vector<uint8_t> step_bytes_;
  std::vector<Written> step_records_;
  Status stop_;  // not ok: the step under way is the last
  WindowTimer window_{this};
  std::function<void()> closed_;
};

}  // namespace varve
