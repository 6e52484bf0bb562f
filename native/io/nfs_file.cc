#include "io/nfs_file.h"

#include <algorithm>
#include <utility>

namespace varve {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kAnswerLimit{10};
constexpr seconds kSilenceMax{60};
constexpr milliseconds kWatchEvery{500};

const char* NameOf(NfsOperation::Kind kind) {
  if (kind == NfsOperation::Kind::kMeasure) return "measure";
  return kind == NfsOperation::Kind::kWrite ? "write" : "read";
}

}  // namespace

// A piece of a read or write that the server takes at once.
struct NfsFile::Part : NfsCall {
  Part(NfsFile* owner, NfsOperation* of, uint64_t at, uint64_t length)
      : NfsCall(OnDone), file(owner), operation(of), offset(at), bytes(length) {}
  static void OnDone(NfsCall* self, const NfsReply& reply) {
    auto* part = static_cast<Part*>(self);
    part->file->OnAnswer(part, reply);
  }
  uint64_t at() const { return offset - operation->offset; }
  NfsFile* file;
  NfsOperation* operation;
  const uint64_t offset, bytes;
};

NfsFile::NfsFile(const NfsLibrary& library, EventLoop& loop, NfsAddress address)
    : loop_(loop),
      link_(library, loop, std::move(address)),
      sync_(link_, locks_,
            {.end = [this](NfsOperation* operation, Status status) {
               End(operation, status);
               Less(operation);
             },
             .release = [this](NfsRange* range) { Release(range); }}) {
  link_.on_up = [this] { OnUp(); };
  link_.on_down = [this](Status status) { OnDown(status); };
}

// What the server has not answered is told so here; nothing of it is sent any more.
NfsFile::~NfsFile() {
  link_.Close();
  while (!queue_.empty()) OnDown(Status(ECONNRESET, "NFS connection"));
  loop_.CancelTimer(&watch_);
}

void NfsFile::Open(std::function<void(Status)> opened) {
  opened_ = std::move(opened);
  link_.Want();
}

void NfsFile::OnUp() {
  last_answer_ = Clock::now();
  if (opened_) std::exchange(opened_, nullptr)(Status::Ok());
  sync_.Settle();
  for (NfsOperation* operation : std::exchange(queue_, {})) {
    if (!operation->ended) Send(operation);
    Less(operation);
  }
}

void NfsFile::OnDown(Status status) {
  sync_.Broken();
  for (NfsOperation* operation : std::exchange(queue_, {})) {
    End(operation, status);
    Less(operation);
  }
  if (opened_) std::exchange(opened_, nullptr)(status);
}

// ---- operations

void NfsFile::Submit(std::unique_ptr<NfsOperation> taken) {
  NfsOperation* operation = taken.release();
  operation->deadline = Clock::now() + kAnswerLimit;
  operation->place = unended_.insert(unended_.end(), operation);
  if (unended_.size() == 1) loop_.SetTimer(&watch_, kWatchEvery);
  operation->pending = 1;
  if (operation->kind == NfsOperation::Kind::kWrite && operation->bytes > 0) {
    operation->range.first = operation->offset;
    operation->range.end = operation->offset + operation->bytes;
    operation->range.operation = operation;
    if (locks_.Acquire(&operation->range)) Run(operation);
    return;
  }
  operation->patches = sync_.Forgotten(operation->offset, operation->bytes);
  Run(operation);
}

// The operation has one thing pending: this.
void NfsFile::Run(NfsOperation* operation) {
  if (operation->ended) return Less(operation);
  if (!link_.up()) {
    queue_.push_back(operation);
    return link_.Want();
  }
  Send(operation);
  Less(operation);
}

void NfsFile::Send(NfsOperation* operation) {
  if (operation->kind == NfsOperation::Kind::kSync) {
    ++operation->pending;
    return sync_.Add(operation);
  }
  if (operation->kind == NfsOperation::Kind::kMeasure) return SendPart(operation, 0, 0);
  uint64_t end = operation->offset + operation->bytes;
  bool reads = operation->kind == NfsOperation::Kind::kRead;
  uint64_t part_bytes = reads ? link_.limits().read_bytes : link_.limits().write_bytes;
  for (uint64_t at = operation->offset; at < end; at += part_bytes) {
    SendPart(operation, at, std::min(part_bytes, end - at));
  }
}

void NfsFile::SendPart(NfsOperation* operation, uint64_t offset, uint64_t bytes) {
  auto* part = new Part(this, operation, offset, bytes);
  if (!Ask(part)) {
    operation->status = Status(ENOMEM, "NFS request");
    delete part;
    return;
  }
  ++operation->pending;
  if (unanswered_++ == 0) last_answer_ = Clock::now();
  if (operation->kind == NfsOperation::Kind::kWrite) ++unanswered_writes_;
}

bool NfsFile::Ask(Part* part) {
  NfsOperation& operation = *part->operation;
  if (operation.kind == NfsOperation::Kind::kMeasure) return link_.protocol().Attributes(link_.rpc(), link_.file(), part);
  auto bytes = static_cast<uint32_t>(part->bytes);
  if (operation.kind == NfsOperation::Kind::kRead) {
    return link_.protocol().Read(link_.rpc(), link_.file(), part->offset, bytes, part);
  }
  std::vector<std::byte> gathered;
  const std::byte* data = InOnePiece(operation, part->at(), part->bytes);
  if (!data) {
    gathered.resize(part->bytes);
    CopyOut(operation, part->at(), gathered.data(), part->bytes);
    data = gathered.data();
  }
  return link_.protocol().Write(link_.rpc(), link_.file(), part->offset, data, bytes, sync_.durability(), part);
}

// ---- answers

void NfsFile::OnAnswer(Part* part, const NfsReply& reply) {
  NfsOperation* operation = part->operation;
  bool wrote = operation->kind == NfsOperation::Kind::kWrite;
  --unanswered_;
  last_answer_ = Clock::now();
  if (wrote) --unanswered_writes_;
  // A server that lives may still perform it: the next connection lets it come to its end.
  if (wrote && reply.error == ECONNRESET) link_.WritesWereUnanswered();
  if (reply.error == ECONNRESET) link_.Lost();
  Status status = reply.error == 0 ? Status::Ok() : Status(reply.error, NameOf(operation->kind));
  if (status.ok() && !operation->ended) status = Take(*part, reply);
  if (operation->status.ok()) operation->status = status;
  delete part;
  Less(operation);
}

Status NfsFile::Take(const Part& part, const NfsReply& reply) {
  switch (part.operation->kind) {
    case NfsOperation::Kind::kWrite: return TakeWritten(part, reply);
    case NfsOperation::Kind::kMeasure: return TakeMeasured(part, reply);
    default: return TakeRead(part, reply);
  }
}

Status NfsFile::TakeMeasured(const Part& part, const NfsReply& reply) {
  *part.operation->measured = reply.attributes.size_bytes;
  link_.Measured(reply.attributes.size_bytes);
  return Status::Ok();
}

// The end of the file inside the disk, which somebody else cut off: what is not there cannot be read.
Status NfsFile::TakeRead(const Part& part, const NfsReply& reply) {
  uint64_t got = std::min(reply.bytes, part.bytes);
  CopyIn(*part.operation, part.at(), reply.data, got);
  if (got == part.bytes) return Status::Ok();
  if (got == 0) return Status(EIO, "read behind the end of the file");
  SendPart(part.operation, part.offset + got, part.bytes - got);
  return Status::Ok();
}

Status NfsFile::TakeWritten(const Part& part, const NfsReply& reply) {
  uint64_t taken = std::min(reply.bytes, part.bytes);
  if (taken == 0) return Status(EIO, "write");
  std::vector<std::byte> content(taken);
  CopyOut(*part.operation, part.at(), content.data(), taken);
  iovec piece{content.data(), taken};
  sync_.Written(part.offset, &piece, 1, reply);
  if (taken < part.bytes) SendPart(part.operation, part.offset + taken, part.bytes - taken);
  return Status::Ok();
}

void NfsFile::Less(NfsOperation* operation) {
  if (--operation->pending == 0) Finish(operation);
}

void NfsFile::Finish(NfsOperation* operation) {
  if (!operation->ended) {
    for (const NfsOperation::Patch& patch : operation->patches) {
      CopyIn(*operation, patch.offset - operation->offset, patch.content.data(), patch.content.size());
    }
    End(operation, operation->status);
  }
  if (operation->range.held) Release(&operation->range);
  delete operation;
}

void NfsFile::Release(NfsRange* range) {
  locks_.Release(range, [this](RangeLocks::Lock* lock) {
    NfsOperation* operation = static_cast<NfsRange*>(lock)->operation;
    if (operation) Run(operation);
    else sync_.DiskLocked();
  });
}

void NfsFile::End(NfsOperation* operation, Status status) {
  if (std::exchange(operation->ended, true)) return;
  unended_.erase(operation->place);
  Completion* done = operation->done;
  if (operation->loop == &loop_) return loop_.Complete(done, status);
  operation->loop->Post([done, status] { done->Run(status); });
}

// ---- time

void NfsFile::Watch() {
  Clock::time_point now = Clock::now();
  while (!unended_.empty() && unended_.front()->deadline <= now) {
    End(unended_.front(), Status(ETIMEDOUT, "no answer from the NFS server"));
  }
  if (unanswered_ > 0 && now - last_answer_ > kSilenceMax) link_.Drop(Status(ETIMEDOUT, "no answer from the NFS server"));
  if (!unended_.empty() || unanswered_ > 0) loop_.SetTimer(&watch_, kWatchEvery);
}

}  // namespace varve
