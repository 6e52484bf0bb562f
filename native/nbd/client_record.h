// ClientRecord: what is known of one established client, readable while its session works.
//
// Thread: counters are written by the session's loop alone and read by any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "nbd/server.h"

namespace varve::nbd {

// A counter with one writer: no locked instruction on the path of a request.
class Counter {
 public:
  void Add(uint64_t amount) { value_.store(get() + amount, std::memory_order_relaxed); }
  void Subtract(uint64_t amount) { value_.store(get() - amount, std::memory_order_relaxed); }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct ClientRecord {
  ClientId id = 0;
  std::string export_name;
  std::string address;
  std::chrono::system_clock::time_point connected_at;
  Counter reads, writes, read_bytes, write_bytes, in_flight;

  // Goes on counting where another process has ended; before the first request.
  void Restore(const ClientStats& before) {
    connected_at = before.connected_at;
    reads.Add(before.reads);
    writes.Add(before.writes);
    read_bytes.Add(before.read_bytes);
    write_bytes.Add(before.write_bytes);
  }

  ClientStats Snapshot() const {
    return {id,          export_name,      address,           connected_at,   reads.get(), writes.get(),
            read_bytes.get(), write_bytes.get(), in_flight.get()};
  }
};

}  // namespace varve::nbd
