// Goal: work runs whoever is busy, and what a helper leaves for itself wakes no other one.
// Method: real threads; work notes on which of them it ran.
#include "io/helper_threads.h"

#include <gtest/gtest.h>

#include <barrier>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>

namespace varve {
namespace {

constexpr int kAtOnce = 4;

// None of them ends before all have begun.
void RunAtOnce(HelperThreads* helpers) {
  auto all = std::make_shared<std::barrier<>>(kAtOnce + 1);
  for (int i = 0; i < kAtOnce; ++i) helpers->Run([all] { all->arrive_and_wait(); });
  all->arrive_and_wait();
}

TEST(HelperThreads, RunsAsMuchAtOnceAsItHasThreads) {
  HelperThreads helpers;
  RunAtOnce(&helpers);
}

TEST(HelperThreads, WhatAHelperRunsNextWakesNoOther) {
  HelperThreads helpers;
  RunAtOnce(&helpers);
  std::promise<void> ended;
  std::thread::id last{};
  int left = 10'000, changes = 0;
  std::function<void()> step = [&] {
    const std::thread::id now = std::this_thread::get_id();
    if (std::exchange(last, now) != now) changes++;
    if (--left > 0) helpers.RunNext(step);
    else ended.set_value();
  };
  helpers.Run(step);
  ended.get_future().wait();
  // Each of them may still have been on its way back.
  EXPECT_LE(changes, kAtOnce + 1);
}

}  // namespace
}  // namespace varve
