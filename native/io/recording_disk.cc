#include "io/recording_disk.h"

namespace varve {

namespace {

// Notes the end of a change in the log, then reports it.
struct ChangeEnd : Completion {
  ChangeEnd(WriteLog* in, size_t at, Completion* outer)
      : Completion(OnEnd), log(in), place(at), done(outer) {}
  static void OnEnd(Completion* self, Status status) {
    auto* end = static_cast<ChangeEnd*>(self);
    Completion* done = end->done;
    end->log->EndChange(end->place);
    delete end;
    done->Run(status);
  }
  WriteLog* log;
  size_t place;
  Completion* done;
};

struct SyncEnd : Completion {
  SyncEnd(WriteLog* in, WriteLog::Moment at, Completion* outer)
      : Completion(OnEnd), log(in), begun(at), done(outer) {}
  static void OnEnd(Completion* self, Status status) {
    auto* end = static_cast<SyncEnd*>(self);
    Completion* done = end->done;
    end->log->EndSync(end->begun);
    delete end;
    done->Run(status);
  }
  WriteLog* log;
  WriteLog::Moment begun;
  Completion* done;
};

std::vector<std::byte> Gather(const iovec* iov, int count) {
  std::vector<std::byte> data;
  ForEachPiece(0, iov, count, [&data](uint64_t, std::byte* piece, uint64_t bytes) {
    data.insert(data.end(), piece, piece + bytes);
  });
  return data;
}

}  // namespace

RecordingDisk::Left RecordingDisk::Cut(uint64_t cut, WriteLog::Choice choice) {
  SparseBytes content = log_.Cut(cut, choice);
  uint64_t digest = content.Digest();
  return {std::make_shared<MemoryDisk>(size_bytes(), std::move(content)), digest};
}

void RecordingDisk::Read(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  now_.Read(loop, offset, iov, count, done);
}

void RecordingDisk::Write(EventLoop& loop, uint64_t offset, const iovec* iov, int count, Completion* done) {
  std::vector<std::byte> data = Gather(iov, count);
  uint64_t bytes = data.size();
  size_t place = log_.BeginChange(offset, bytes, std::move(data));
  now_.Write(loop, offset, iov, count, new ChangeEnd(&log_, place, done));
}

void RecordingDisk::Sync(EventLoop& loop, Completion* done) {
  now_.Sync(loop, new SyncEnd(&log_, log_.BeginSync(), done));
}

void RecordingDisk::Discard(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  WriteZeroes(loop, offset, bytes, done);
}

void RecordingDisk::WriteZeroes(EventLoop& loop, uint64_t offset, uint64_t bytes, Completion* done) {
  size_t place = log_.BeginChange(offset, bytes, {});
  now_.WriteZeroes(loop, offset, bytes, new ChangeEnd(&log_, place, done));
}

}  // namespace varve
