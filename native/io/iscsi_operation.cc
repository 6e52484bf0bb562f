#include "io/iscsi_operation.h"

#include "io/iscsi_core.h"

namespace varve {

IscsiOperation::IscsiOperation(IscsiCore& core, EventLoop& origin, Completion* done)
    : core_(core), origin_(origin), done_(done), exchange_(core.home(), this) {
  lock_.operation = this;
}

void IscsiOperation::Send(const scsi::Cdb& cdb, libiscsi::Transfer transfer, iovec* iov, int iov_count, uint64_t bytes) {
  ScsiCommand& command = exchange_.command();
  command.cdb = cdb;
  command.transfer = transfer;
  command.iov = iov;
  command.iov_count = iov_count;
  command.bytes = static_cast<uint32_t>(bytes);
  exchange_.Begin(core_.session(), core_.answer_limit(), false);
}

void IscsiOperation::Exchange::OnAnswer(ScsiExchange* self, const ScsiOutcome& outcome) {
  IscsiOperation* operation = static_cast<Exchange*>(self)->operation;
  bool answered = outcome.verdict == ScsiVerdict::kDone || outcome.verdict == ScsiVerdict::kRefused;
  if (answered) operation->Answered(outcome);
  else operation->core_.Interrupted(operation, outcome);
}

void IscsiOperation::Finish(Status status) { core_.Finished(this, status); }

void IscsiOperation::Report(Status status) {
  if (origin_.OnLoopThread()) return origin_.Complete(done_, status);
  origin_.Post([done = done_, status] { done->Run(status); });
}

}  // namespace varve
