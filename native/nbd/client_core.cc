#include "nbd/client_core.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "nbd/client_disk.h"

namespace varve::nbd {

namespace {

// One request of a search: lengths on the wire have 32 bits, and an answer that says much is long in coming.
constexpr uint64_t kSearchBytesMax = 1 << 30;

// visit(memory, bytes, distance from `at`) for the memory of [at, at + bytes) of the disk, as far as it belongs to the read.
template <typename Visit>
void ForEachBuffer(const ClientOperation& read, uint64_t at, uint64_t bytes, Visit visit) {
  uint64_t start = read.offset;
  for (int i = 0; i < read.count; ++i) {
    const uint64_t length = read.iov[i].iov_len;
    const uint64_t from = std::max(at, start), to = std::min(at + bytes, start + length);
    if (from < to) visit(static_cast<std::byte*>(read.iov[i].iov_base) + (from - start), to - from, from - at);
    start += length;
  }
}

void AddRun(DataSearch* search, uint64_t from, uint64_t to) {
  from = std::max(from, search->offset);
  to = std::min(to, search->offset + search->bytes);
  if (from >= to) return;
  if (!search->runs.empty() && search->runs.back().offset + search->runs.back().bytes == from) {
    search->runs.back().bytes += to - from;
  } else {
    search->runs.push_back({from, to - from});
  }
}

}  // namespace

ClientCore::ClientCore(EventLoop& home, std::string path, std::string export_name)
    : home_(home), path_(std::move(path)), export_name_(std::move(export_name)) {}

void ClientCore::Start(std::function<void(Status)> dialed) {
  dialed_ = std::move(dialed);
  Dial();
}

void ClientCore::Expect(uint64_t size_bytes) {
  offer_.size_bytes = size_bytes;
  known_ = true;
}

void ClientCore::Close() {
  home_.CancelTimer(&timer_);
  if (link_) link_->Close();
  link_ = nullptr;
}

// ---- the connection

void ClientCore::Dial() {
  // The link outlives this object in the loop's hands, but calls it no more once it is closed.
  link_ = ClientLink::Connect(home_, path_, this, [this](Status status) { OnDown(status); });
  home_.SetTimer(&timer_, ClientDisk::kSilenceMax);
}

void ClientCore::OnGreeting() { link_->Send(AskForExport(export_name_)); }

void ClientCore::OnOffer(const ServerOffer& offer) {
  if (known_ && offer.size_bytes != offer_.size_bytes) {
    // Not from inside of the parser.
    home_.Post([self = shared_from_this(), failed = link_] {
      failed->Close();
      if (self->link_ == failed) self->OnDown(Status(ESTALE, "the NBD server has another export under the name"));
    });
    return;
  }
  offer_ = offer;
  known_ = true;
  up_ = true;
  if (dialed_) std::exchange(dialed_, nullptr)(Status::Ok());
  for (ClientOperation* operation : std::exchange(waiting_, {})) Ask(operation);
}

void ClientCore::OnDown(Status status) {
  home_.CancelTimer(&timer_);
  link_ = nullptr;
  up_ = false;
  for (auto& [cookie, asked] : std::exchange(asked_, {})) EndPiece(asked.operation, status);
  for (ClientOperation* operation : std::exchange(waiting_, {})) End(operation, status);
  if (dialed_) std::exchange(dialed_, nullptr)(status);
}

void ClientCore::LookAtSilence() {
  if (!link_) return;
  const bool silent = !link_->TakeProgress() && (!up_ || !asked_.empty());
  if (!silent) return home_.SetTimer(&timer_, ClientDisk::kSilenceMax);
  link_->Close();
  OnDown(Status(ETIMEDOUT, "the NBD server does not answer"));
}

// ---- asking

void ClientCore::Submit(std::unique_ptr<ClientOperation> operation) {
  if (operation->bytes == 0) return End(operation.release(), Status::Ok());
  if (up_) return Ask(operation.release());
  waiting_.push_back(operation.release());
  if (!link_) Dial();
}

// In pieces that the server takes, of whole blocks of its own.
void ClientCore::Ask(ClientOperation* operation) {
  const uint64_t block = offer_.block_bytes_min;
  const uint64_t begin = operation->offset / block * block;
  const uint64_t end = std::min((operation->offset + operation->bytes + block - 1) / block * block, offer_.size_bytes);
  if (operation->search) {
    if (offer_.tells_allocation) return AskPiece(operation, begin, std::min(end, begin + kSearchBytesMax));
    operation->search->runs.assign(1, {operation->offset, operation->bytes});
    return End(operation, Status::Ok());
  }
  const uint64_t piece = offer_.payload_bytes_max / block * block;
  operation->pending = 1;  // this call
  for (uint64_t at = begin; at < end; at += piece) AskPiece(operation, at, std::min(end, at + piece));
  EndPiece(operation, Status::Ok());
}

void ClientCore::AskPiece(ClientOperation* operation, uint64_t at, uint64_t end) {
  operation->pending++;
  const Command command = operation->search ? Command::kBlockStatus : Command::kRead;
  const uint64_t cookie = ++last_cookie_;
  asked_.emplace(cookie, Asked{operation, end, at});
  link_->Send(AskFor(command, cookie, at, static_cast<uint32_t>(end - at)));
}

// ---- answers

ClientCore::Asked* ClientCore::Answered(uint64_t cookie, uint64_t offset, uint64_t bytes) {
  const auto found = asked_.find(cookie);
  if (found == asked_.end()) return nullptr;
  Asked& asked = found->second;
  const bool next = !asked.operation->search && asked.at == offset && bytes <= asked.end - asked.at;
  if (!next) return nullptr;
  asked.at += bytes;
  return &asked;
}

bool ClientCore::OnData(uint64_t cookie, uint64_t offset, std::span<const std::byte> data) {
  const Asked* asked = Answered(cookie, offset, data.size());
  if (!asked) return false;
  ForEachBuffer(*asked->operation, offset, data.size(), [data](std::byte* memory, uint64_t bytes, uint64_t distance) {
    std::memcpy(memory, data.data() + distance, bytes);
  });
  return true;
}

bool ClientCore::OnHole(uint64_t cookie, uint64_t offset, uint64_t bytes) {
  const Asked* asked = Answered(cookie, offset, bytes);
  if (!asked) return false;
  ForEachBuffer(*asked->operation, offset, bytes, [](std::byte* memory, uint64_t length, uint64_t) {
    std::memset(memory, 0, length);
  });
  return true;
}

// The last one may reach beyond what was asked for, and all together less far.
bool ClientCore::OnExtents(uint64_t cookie, std::span<const Extent> extents) {
  const auto found = asked_.find(cookie);
  if (found == asked_.end() || !found->second.operation->search) return false;
  Asked& asked = found->second;
  for (const Extent& extent : extents) {
    const uint64_t end = std::min(asked.end, asked.at + extent.length);
    if (!(extent.flags & kExtentZero)) AddRun(asked.operation->search, asked.at, end);
    asked.at = end;
  }
  return true;
}

bool ClientCore::OnError(uint64_t cookie, int error) {
  const auto found = asked_.find(cookie);
  if (found == asked_.end()) return false;
  found->second.failed = true;
  ClientOperation* operation = found->second.operation;
  if (operation->status.ok()) operation->status = Status(error, "the NBD server could not read");
  return true;
}

bool ClientCore::OnDone(uint64_t cookie) {
  const auto found = asked_.find(cookie);
  if (found == asked_.end()) return false;
  const Asked asked = found->second;
  DataSearch* search = asked.operation->search;
  const bool whole = search ? asked.at > search->offset : asked.at == asked.end;
  if (!asked.failed && !whole) return false;
  if (search && !asked.failed) search->bytes = std::min(search->bytes, asked.at - search->offset);
  asked_.erase(found);
  EndPiece(asked.operation, Status::Ok());
  return true;
}

void ClientCore::EndPiece(ClientOperation* operation, Status status) {
  if (operation->status.ok()) operation->status = status;
  if (--operation->pending == 0) End(operation, operation->status);
}

void ClientCore::End(ClientOperation* operation, Status status) {
  const std::unique_ptr<ClientOperation> ended(operation);
  EventLoop& loop = *ended->loop;
  if (loop.OnLoopThread()) return loop.Complete(ended->done, status);
  loop.Post([done = ended->done, status] { done->Run(status); });
}

}  // namespace varve::nbd
