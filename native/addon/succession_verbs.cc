// Clients and listening sockets between one process and the next; words with the supervisor.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/runtime.h"
#include "addon/verbs.h"
#include "io/fd_mail.h"
#include "nbd/succession_mail.h"

namespace varve {
namespace {

constexpr std::chrono::milliseconds kBarrierMax{5'000};

// Mail may wait for its receiver or its sender: not on JavaScript's thread, nor on a loop's.
struct Errand : Completion {
  Errand(double token, std::function<Status(Errand&)> work) : Completion(&OnDone), token(token), work(std::move(work)) {}

  static void OnDone(Completion* self, Status status) {
    std::unique_ptr<Errand> errand(static_cast<Errand*>(self));
    Runtime::Get().events().Done(errand->token, status, errand->value);
  }

  double token;
  std::function<Status(Errand&)> work;
  double value = 0;
};

void Run(double token, std::function<Status(Errand&)> work) {
  auto* errand = new Errand(token, std::move(work));
  EventLoop* loop = &Runtime::Get().control_loop();
  loop->Post([loop, errand] { loop->RunBlocking([errand] { return errand->work(*errand); }, errand); });
}

void ParkListener(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Status status = Runtime::Get().server().ParkListener(
      U64At(info, 1), [token] { Runtime::Get().events().Done(token, Status::Ok()); });
  if (!status.ok()) Runtime::Get().events().Done(token, status);
}

void ParkClients(const Napi::CallbackInfo& info) {
  double token = NumberAt(info, 0);
  Runtime::Get().server().ParkClients([token] { Runtime::Get().events().Done(token, Status::Ok()); });
}

void Bequeath(const Napi::CallbackInfo& info) {
  auto parked = std::make_shared<nbd::Succession>(Runtime::Get().server().TakeParked());
  std::string address = info[1].As<Napi::String>().Utf8Value();
  Run(NumberAt(info, 0), [parked, address](Errand& errand) {
    errand.value = static_cast<double>(parked->clients.size());
    return nbd::SendSuccession(address, *parked);
  });
}

void Inherit(const Napi::CallbackInfo& info) {
  Napi::Object stored = info[0].As<Napi::Object>();
  Napi::Array names = stored.GetPropertyNames();
  std::vector<nbd::NamedFd> fds;
  for (uint32_t i = 0; i < names.Length(); i++) {
    std::string name = names.Get(i).As<Napi::String>().Utf8Value();
    fds.emplace_back(name, UniqueFd(static_cast<int>(U64Of(stored, name.c_str()))));
  }
  nbd::Succession inherited;
  if (fds.empty()) return Runtime::Get().server().Inherit({});
  if (Status status = nbd::AssembleSuccession(std::move(fds), &inherited); !status.ok()) {
    return Napi::Error::New(info.Env(), status.what()).ThrowAsJavaScriptException();
  }
  Runtime::Get().server().Inherit(std::move(inherited));
}

Napi::Value OpenMailboxAt(const Napi::CallbackInfo& info) {
  UniqueFd mailbox;
  Status status = OpenMailbox(info[0].As<Napi::String>().Utf8Value(), &mailbox);
  if (!status.ok()) {
    Napi::Error::New(info.Env(), status.what()).ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  // The receiver's from now on.
  return Napi::Number::New(info.Env(), mailbox.Release());
}

void Receive(const Napi::CallbackInfo& info) {
  auto mailbox = std::make_shared<UniqueFd>(static_cast<int>(U64At(info, 1)));
  const std::chrono::milliseconds timeout(U64At(info, 2));
  Run(NumberAt(info, 0), [mailbox, timeout](Errand&) {
    nbd::Succession inherited;
    const Status received = nbd::ReceiveSuccession(mailbox->get(), timeout, &inherited);
    *mailbox = UniqueFd();
    if (received.ok()) Runtime::Get().server().Inherit(std::move(inherited));
    return received;
  });
}

Napi::Value Adopt(const Napi::CallbackInfo& info) {
  const nbd::Adoption adoption = Runtime::Get().server().Adopt();
  Napi::Array refused = Napi::Array::New(info.Env(), adoption.refused.size());
  for (uint32_t i = 0; i < adoption.refused.size(); i++) {
    Napi::Object row = Napi::Object::New(info.Env());
    row.Set("export", adoption.refused[i].export_name);
    row.Set("address", adoption.refused[i].address);
    row.Set("reason", adoption.refused[i].reason);
    refused.Set(i, row);
  }
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("clients", adoption.clients);
  out.Set("refused", refused);
  return out;
}

void SendText(const Napi::CallbackInfo& info) {
  std::string address = info[1].As<Napi::String>().Utf8Value();
  std::string text = info[2].As<Napi::String>().Utf8Value();
  Run(NumberAt(info, 0), [address, text](Errand&) { return SendFdMail(address, text, {}); });
}

// The other end is closed when the supervisor has dealt with everything sent before (sd_notify_barrier(3)).
Status AwaitSupervisor(const std::string& address) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Status(errno, "create a pipe");
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  if (const Status sent = SendFdMail(address, "BARRIER=1", {&ends[1], 1}); !sent.ok()) return sent;
  theirs = UniqueFd();
  pollfd query{ours.get(), 0, 0};
  int ready;
  do ready = poll(&query, 1, static_cast<int>(kBarrierMax.count()));
  while (ready < 0 && errno == EINTR);
  return ready > 0 ? Status::Ok() : Status(ETIMEDOUT, "the supervisor does not answer");
}

void ForgetStored(const Napi::CallbackInfo& info) {
  std::string address = info[1].As<Napi::String>().Utf8Value();
  Napi::Array from = info[2].As<Napi::Array>();
  std::vector<std::string> names;
  for (uint32_t i = 0; i < from.Length(); i++) names.push_back(from.Get(i).As<Napi::String>().Utf8Value());
  Run(NumberAt(info, 0), [address, names](Errand&) {
    for (const std::string& name : names) {
      if (const Status sent = SendFdMail(address, "FDSTOREREMOVE=1\nFDNAME=" + name, {}); !sent.ok()) return sent;
    }
    return AwaitSupervisor(address);
  });
}

}  // namespace

void ExportSuccessionVerbs(Napi::Env env, Napi::Object exports) {
  exports.Set("parkListener", Napi::Function::New(env, ParkListener));
  exports.Set("parkClients", Napi::Function::New(env, ParkClients));
  exports.Set("bequeath", Napi::Function::New(env, Bequeath));
  exports.Set("inherit", Napi::Function::New(env, Inherit));
  exports.Set("openMailbox", Napi::Function::New(env, OpenMailboxAt));
  exports.Set("receiveSuccession", Napi::Function::New(env, Receive));
  exports.Set("adoptClients", Napi::Function::New(env, Adopt));
  exports.Set("sendText", Napi::Function::New(env, SendText));
  exports.Set("forgetStored", Napi::Function::New(env, ForgetStored));
}

}  // namespace varve
