#include "volume/disk_target.h"

#include <algorithm>

#include "base/object_pool.h"

namespace varve {

namespace {

// One request on its way through the disk: the operation, then a sync when it has to be durable.
class DiskOp : public Completion {
 public:
  DiskOp() : Completion(&OnStep) {}

  void Start(Disk* disk, BlockRequest* request) {
    disk_ = disk;
    request_ = request;
    sync_due_ = request->fua;
    Begin(*request->loop);
  }

 private:
  void Begin(EventLoop& loop);
  static void OnStep(Completion* self, Status status);
  void End(Status status);

  Disk* disk_ = nullptr;
  BlockRequest* request_ = nullptr;
  bool sync_due_ = false;
  iovec iov_{};
  DataSearch search_;
};

void DiskOp::Begin(EventLoop& loop) {
  BlockRequest& request = *request_;
  iov_ = {request.data, request.length};
  switch (request.op) {
    case BlockOp::kRead:
      return disk_->Read(loop, request.offset, &iov_, 1, this);
    case BlockOp::kWrite:
      return disk_->Write(loop, request.offset, &iov_, 1, this);
    case BlockOp::kFlush:
      return disk_->Sync(loop, this);
    case BlockOp::kTrim:
      return disk_->Discard(loop, request.offset, request.length, this);
    case BlockOp::kWriteZeroes:
      return disk_->WriteZeroes(loop, request.offset, request.length, this);
    case BlockOp::kCache:
      return loop.Complete(this, Status::Ok());
    case BlockOp::kBlockStatus:
      search_.offset = request.offset;
      search_.bytes = request.length;
      return disk_->FindData(loop, &search_, this);
  }
}

void DiskOp::OnStep(Completion* self, Status status) {
  DiskOp* op = static_cast<DiskOp*>(self);
  if (!status.ok() || !op->sync_due_) return op->End(status);
  op->sync_due_ = false;
  op->disk_->Sync(*op->request_->loop, op);
}

// The search as runs of data and of holes, as many as the request has room for.
void FillExtents(const DataSearch& search, BlockRequest* request) {
  uint64_t at = search.offset;
  auto add = [&](uint64_t end, uint32_t flags) {
    if (end == at || request->extents.size() == request->extents_max) return;
    request->extents.push_back({end - at, flags});
    at = end;
  };
  for (const DataRun& run : search.runs) {
    add(run.offset, kExtentHole | kExtentZero);
    add(run.offset + run.bytes, 0);
  }
  add(search.offset + search.bytes, kExtentHole | kExtentZero);
}

void DiskOp::End(Status status) {
  BlockRequest* request = request_;
  if (request->op == BlockOp::kRead) request->extents.assign(1, {request->length, 0});
  if (request->op == BlockOp::kBlockStatus && status.ok()) FillExtents(search_, request);
  search_.runs.clear();
  ObjectPool<DiskOp>::Give(this);
  request->done->Run(status);
}

}  // namespace

void DiskTarget::Submit(BlockRequest* request) { ObjectPool<DiskOp>::Take()->Start(disk_.get(), request); }

}  // namespace varve
