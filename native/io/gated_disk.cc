#include "io/gated_disk.h"

namespace varve {

struct GatedOperation : Completion {
  GatedOperation(GatedDisk* in, EventLoop* on, const DiskRequest& what, Completion* outer)
      : Completion(OnPerformed), disk(in), loop(static_cast<SimulatedLoop*>(on)), request(what), done(outer) {}

  static void OnPerformed(Completion* self, Status status) {
    auto* operation = static_cast<GatedOperation*>(self);
    operation->performed = true;
    operation->status = status;
    operation->disk->gate_->Hold(operation);
  }

  void GoOn() {
    if (!performed) return request.Submit(*disk->below_, *loop, this);
    Completion* outer = done;
    const Status end = status;
    delete this;
    outer->Run(end);
  }

  GatedDisk* disk;
  SimulatedLoop* loop;
  DiskRequest request;
  Completion* done;
  bool performed = false;
  Status status{};
};

std::vector<Gate::Waiting> Gate::waiting() const {
  std::vector<Waiting> all;
  for (const auto& [id, operation] : held_) {
    const DiskRequest& request = operation->request;
    all.push_back({id, operation->disk->name(), request.op, operation->performed, request.offset, request.length()});
  }
  return all;
}

void Gate::LetGo(uint64_t id) {
  GatedOperation* operation = held_.extract(id).mapped();
  operation->loop->Enter([operation] { operation->GoOn(); });
}

void Gate::Hold(GatedOperation* operation) { held_[++last_id_] = operation; }

void GatedDisk::Begin(EventLoop& loop, const DiskRequest& request, Completion* done) {
  gate_->Hold(new GatedOperation(this, &loop, request, done));
}

}  // namespace varve
