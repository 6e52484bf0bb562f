// Goal: a cluster hashes to what its named sub-blocks hold, in order, whatever lies between them; one that cannot be read, or whose disk has left, harms
//   no other.
// Method: random bytes under a pool, random masks, compared with XXH64 of the same bytes put together here; both efforts.
#include "volume/cluster_hash.h"

#include <random>

#include "io/fault_disk.h"
#include "test/loop_fixture.h"
#include "test/volume_fixture.h"

namespace varve {
namespace {

constexpr uint64_t kClusters = 40;
constexpr size_t kSubBytes = kTestClusterBytes / kSubBlocksPerCluster;

class ClusterHashTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    control.pool().SetGentleCopies(GetParam());
    for (uint8_t& byte : content) byte = static_cast<uint8_t>(random());
    EXPECT_TRUE(WriteDisk(control.loop(0), control.disk(), kFirst * kTestClusterBytes, content).ok());
  }

  std::vector<ClusterToHash> Hash(std::vector<ClusterToHash> clusters) {
    std::promise<std::vector<ClusterToHash>> hashed;
    ClusterHashing::Start(&control.pool(), &control.loop(0), std::move(clusters),
                          [&](const std::vector<ClusterToHash>& all) { hashed.set_value(all); });
    return hashed.get_future().get();
  }

  void RemoveDisk(unsigned number) {
    std::promise<void> removed;
    control.pool().RemoveDisk(number, [&removed] { removed.set_value(); });
    removed.get_future().wait();
  }

  uint64_t Expected(uint64_t n, SlotMask mask) const {
    Bytes joined;
    for (size_t sub = 0; sub < kSubBlocksPerCluster; sub++) {
      if ((mask >> sub & 1) == 0) continue;
      const auto from = content.begin() + static_cast<ptrdiff_t>(n * kTestClusterBytes + sub * kSubBytes);
      joined.insert(joined.end(), from, from + kSubBytes);
    }
    return XXH64(joined.data(), joined.size(), 0);
  }

  static constexpr uint64_t kFirst = 100;  // behind the ring
  std::mt19937 random{11};
  PoolOptionsForTest options;
  std::shared_ptr<MemoryDisk> memory = std::make_shared<MemoryDisk>((kFirst + kClusters) * kTestClusterBytes);
  std::shared_ptr<FaultDisk> faults = std::make_shared<FaultDisk>(memory);
  Bytes content = Bytes(kClusters * kTestClusterBytes);
  ControlPlaneForTest control{[this] {
    options.disk = faults;
    options.clusters = 16;
    return options;
  }()};
};

TEST_P(ClusterHashTest, HashesTheNamedSubBlocksInOrder) {
  std::vector<ClusterToHash> clusters;
  for (uint64_t n = 0; n < kClusters; n++) {
    const SlotMask mask = n == 0 ? kFullMask : static_cast<SlotMask>(random() | 1u << n % 16);
    clusters.push_back({Address::Of(0, kFirst + n), mask});
  }
  const std::vector<ClusterToHash> hashed = Hash(clusters);
  ASSERT_EQ(hashed.size(), kClusters);
  for (uint64_t n = 0; n < kClusters; n++) {
    EXPECT_EQ(hashed[n].error, 0);
    EXPECT_EQ(hashed[n].hash, Expected(n, clusters[n].mask)) << "cluster " << n << " mask " << clusters[n].mask;
  }
}

TEST_P(ClusterHashTest, ABitThatIsNotNamedDoesNotMatter) {
  const Address address = Address::Of(0, kFirst + 3);
  const uint64_t before = Hash({{address, 0x00ff}})[0].hash;
  const uint64_t at = (kFirst + 3) * kTestClusterBytes + 8 * kSubBytes;
  EXPECT_TRUE(WriteDisk(control.loop(0), control.disk(), at, Bytes(kSubBytes, 0x11)).ok());
  EXPECT_EQ(Hash({{address, 0x00ff}})[0].hash, before);
  EXPECT_NE(Hash({{address, 0x01ff}})[0].hash, before);
}

TEST_P(ClusterHashTest, WhatCannotBeReadIsToldOfThatClusterAlone) {
  faults->Set({{.op = DiskOp::kRead, .error = EIO, .after = 1, .times = 1}});
  std::vector<ClusterToHash> hashed = Hash({{Address::Of(0, kFirst), 1}, {Address::Of(0, kFirst + 1), 1}, {Address::Of(0, kFirst + 2), 1}});
  int failed = 0;
  for (uint64_t n = 0; n < 3; n++) {
    failed += hashed[n].error == EIO;
    if (hashed[n].error != 0) continue;
    EXPECT_EQ(hashed[n].hash, Expected(n, 1));
  }
  EXPECT_EQ(failed, 1);
}

TEST_P(ClusterHashTest, ADiskThatHasLeftIsToldOfItsClusterAlone) {
  control.pool().AddDisk(7, std::make_shared<MemoryDisk>(kTestClusterBytes));
  RemoveDisk(7);
  const std::vector<ClusterToHash> hashed = Hash({{Address::Of(7, 0), 1}, {Address::Of(0, kFirst), 1}, {Address::Of(7, 0), 1}});
  EXPECT_EQ(hashed[0].error, ENODEV);
  EXPECT_EQ(hashed[2].error, ENODEV);
  EXPECT_EQ(hashed[1].error, 0);
  EXPECT_EQ(hashed[1].hash, Expected(0, 1));
}

TEST_P(ClusterHashTest, ADiskThatLeavesMeanwhileStaysUntilItHasAnswered) {
  auto leaving = std::make_shared<FaultDisk>(std::make_shared<MemoryDisk>(kTestClusterBytes));
  std::weak_ptr<FaultDisk> there = leaving;
  leaving->Set({{.op = DiskOp::kRead, .kind = FaultKind::kDelay, .times = 1, .delay = std::chrono::milliseconds(100)}});
  control.pool().AddDisk(7, std::move(leaving));
  std::promise<std::vector<ClusterToHash>> hashed;
  ClusterHashing::Start(&control.pool(), &control.loop(0), {{Address::Of(7, 0), 1}},
                        [&](const std::vector<ClusterToHash>& all) { hashed.set_value(all); });
  RemoveDisk(7);
  EXPECT_FALSE(there.expired());
  EXPECT_EQ(hashed.get_future().get()[0].error, 0);
}

TEST_P(ClusterHashTest, NothingToDoEnds) { EXPECT_TRUE(Hash({}).empty()); }

INSTANTIATE_TEST_SUITE_P(Efforts, ClusterHashTest, testing::Bool());

}  // namespace
}  // namespace varve
