// EpollLoop: an event loop for kernels without io_uring.
//
// Sockets are tried at once and watched with epoll only while they have nothing; a
// watch fires once, so a descriptor without waiting operations needs no
// bookkeeping and may be closed by its owner. What may block on a file goes to
// helper threads.
//
// Invariant: watches_ has an entry exactly for descriptors with waiting operations.
// Thread: the loop's.
#pragma once

#include <array>
#include <unordered_map>

#include "io/loop_base.h"
#include "io/unique_fd.h"

namespace varve {

class EpollLoop final : public LoopBase {
 public:
  static std::unique_ptr<EpollLoop> Create(std::string* error);

  void Accept(int fd, CountedCompletion* done) override;
  void Receive(int fd, void* buffer, size_t bytes, CountedCompletion* done) override;
  void Send(int fd, const msghdr* message, CountedCompletion* done) override;
  void Poll(int fd, short events, CountedCompletion* done) override;
  void CancelSocket(int fd) override;
  void SyncFile(int fd, Completion* done) override;
  void ZeroFile(int fd, uint64_t offset, uint64_t bytes, bool punch, Completion* done) override;
  const char* backend() const override { return "epoll"; }

 private:
  enum class Kind : uint8_t { kAccept, kReceive, kSend, kPoll };
  struct SocketOperation {
    Kind kind;
    int fd;
    void* buffer;
    size_t bytes;
    const msghdr* message;
    short events;  // of kPoll
    CountedCompletion* done;
  };
  struct FileOperation {
    enum class Kind : uint8_t { kRead, kWrite, kSync, kZero } kind;
    FileTransfer transfer;
    int fd;
    uint64_t offset;
    uint64_t bytes;
    bool punch;
    uint64_t submitted_ns;
    Completion* done;
    Status status;
  };
  using Waiting = std::vector<SocketOperation>;

  explicit EpollLoop(UniqueFd epoll);

  void Wait(std::optional<Clock::duration> limit) override;
  void HandleEvents() override;
  void ReadFileLater(FileTransfer* transfer, Completion* done) override;
  void WriteFileLater(FileTransfer* transfer, Completion* done) override;

  void Start(const SocketOperation& operation);
  static int64_t Try(const SocketOperation& operation);   // result or negative errno
  static int64_t Call(const SocketOperation& operation);  // result or -1 with errno
  static int64_t PollNow(int fd, short events);
  static uint32_t Awaited(const SocketOperation& operation);
  void Watch(int fd, const Waiting& waiting);
  void TryWaiting(int fd);

  FileOperation* TakeFile(FileOperation::Kind kind, int fd, Completion* done);
  void RunOnHelper(FileOperation* operation);
  static Status Perform(FileOperation* operation);
  void EndFile(FileOperation* operation);

  UniqueFd epoll_;
  std::unordered_map<int, Waiting> watches_;
  std::vector<int> fired_;
  FreeList<FileOperation> file_operations_;
};

}  // namespace varve
