// StartThread: a named thread that receives no signals.
//
// The process is Node's: its signals belong to Node's main thread.
#pragma once

#include <functional>
#include <string>
#include <thread>

namespace varve {

// name: at most 15 characters, seen in ps and perf.
std::thread StartThread(std::string name, std::function<void()> body);

}  // namespace varve
