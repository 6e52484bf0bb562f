#include "nbd/server.h"

#include <utility>

#include "nbd/registry.h"
#include "nbd/succession.h"

namespace varve::nbd {

Server::Server(std::vector<EventLoop*> loops, const ServerLimits& limits, ServerEvents* events)
    : registry_(std::make_shared<Registry>(std::move(loops), limits, events)) {}

Server::~Server() = default;

Status Server::AddListener(const ListenAddress& address, ListenerId* id, uint16_t* port) {
  return registry_->AddListener(address, id, port);
}

Status Server::CloseListener(ListenerId id, std::function<void()> done) {
  return registry_->CloseListener(id, std::move(done));
}

Status Server::AddExport(ExportSpec spec) { return registry_->AddExport(std::move(spec)); }

Status Server::RemoveExport(const std::string& name, Parting parting, std::function<void(unsigned clients)> done) {
  return registry_->RemoveExport(name, parting, std::move(done));
}

Status Server::PauseExport(const std::string& name, std::function<void()> done) {
  return registry_->PauseExport(name, std::move(done));
}

Status Server::ResumeExport(const std::string& name, std::shared_ptr<BlockTarget> target, std::function<void()> done) {
  return registry_->ResumeExport(name, std::move(target), std::move(done));
}

std::vector<ClientStats> Server::ListClients() const { return registry_->ListClients(); }

Status Server::ParkListener(ListenerId id, std::function<void()> done) {
  return registry_->ParkListener(id, std::move(done));
}

void Server::ParkClients(std::function<void()> done) { registry_->ParkClients(std::move(done)); }

Succession Server::TakeParked() { return registry_->TakeParked(); }

void Server::Inherit(Succession inherited) { registry_->Inherit(std::move(inherited)); }

Adoption Server::Adopt() { return registry_->Adopt(); }

void Server::Close(std::function<void()> done) { registry_->Close(std::move(done)); }

}  // namespace varve::nbd
