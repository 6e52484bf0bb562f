// Other people's programs as processes of a test.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace varve {

// Starts a program, found by PATH, whose output nobody wants. One that is missing fails the test.
pid_t SpawnQuietly(const std::vector<std::string>& words);

// Ends it at once, and waits until it is gone.
void KillAndReap(pid_t pid);

// Runs a program to its end; true when it was successful.
bool RunQuietly(const std::vector<std::string>& words);

}  // namespace varve
