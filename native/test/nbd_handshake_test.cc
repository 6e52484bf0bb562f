// Goal: every option, well formed or not, gets the one answer the protocol asks for, and none desynchronizes the stream.
// Method: bytes in, replies out; each case also with one byte at a time.
#include <gtest/gtest.h>

#include <map>

#include "nbd/handshake.h"
#include "test/nbd_wire.h"

namespace varve::nbd {
namespace {

using namespace wire;
using enum OptionReply;

class FakeCatalog final : public Catalog {
 public:
  std::vector<ExportView> List() override { return views; }
  bool Find(std::string_view name, ExportView* view) override {
    for (const ExportView& candidate : views) {
      if (candidate.name != name && !(name.empty() && views.size() == 1)) continue;
      *view = candidate;
      return true;
    }
    return false;
  }
  Admission Enter(std::string_view name, ExportView* view) override {
    if (full) return Admission::kFull;
    return Find(name, view) ? Admission::kEntered : Admission::kUnknown;
  }
  std::vector<ExportView> views{{"disk", "a description", 1 << 20, 65536, false, nullptr}};
  bool full = false;
};

struct ReplySeen {
  uint32_t option;
  OptionReply type;
  std::string payload;
};

class HandshakeTest : public testing::Test {
 protected:
  // Feeds `bytes` one at a time, as a network may.
  void Feed(std::string_view bytes) {
    for (const char byte : bytes) {
      pending_.push_back(byte);
      for (size_t taken = 1; taken > 0;) {
        taken = handshake.Step(std::as_bytes(std::span(pending_)), &out);
        pending_.erase(0, taken);
      }
    }
  }
  void Greet(uint32_t flags = 3) { Feed(ClientFlags(flags)); }
  std::vector<ReplySeen> Ask(Option option, std::string_view data = {}) {
    Feed(OptionBytes(option, data));
    return TakeReplies();
  }
  std::vector<ReplySeen> TakeReplies() {
    std::vector<ReplySeen> replies;
    ByteReader reader(std::as_bytes(std::span(out)));
    while (reader.left() >= 20) {
      EXPECT_EQ(reader.Take<uint64_t>(), kOptionReplyMagic);
      ReplySeen reply;
      reply.option = reader.Take<uint32_t>();
      reply.type = static_cast<OptionReply>(reader.Take<uint32_t>());
      reply.payload = reader.TakeString();
      replies.push_back(reply);
    }
    EXPECT_TRUE(reader.ok());
    out.clear();
    return replies;
  }
  OptionReply Final(Option option, std::string_view data = {}) {
    const auto replies = Ask(option, data);
    return replies.empty() ? OptionReply{} : replies.back().type;
  }
  bool closed() const { return handshake.state() == Handshake::State::kClosed; }
  bool transmitting() const { return handshake.state() == Handshake::State::kTransmission; }

  FakeCatalog catalog;
  Handshake handshake{catalog};
  std::string out;

 private:
  std::string pending_;
};

TEST_F(HandshakeTest, GreetsWithFixedNewstyle) {
  EXPECT_EQ(Handshake::Greeting(), std::string("NBDMAGICIHAVEOPT\0\3", 18));
}

TEST_F(HandshakeTest, ClosesOnUnknownClientFlags) {
  Greet(4);
  EXPECT_TRUE(closed());
}

TEST_F(HandshakeTest, ClosesOnWrongOptionMagic) {
  Greet();
  Feed(std::string(16, 'x'));
  EXPECT_TRUE(closed());
}

TEST_F(HandshakeTest, ClientWithoutFixedNewstyleMayOnlyNameAnExport) {
  Greet(0);
  EXPECT_TRUE(Ask(Option::kList).empty());
  EXPECT_TRUE(closed());
}

TEST_F(HandshakeTest, AbortIsAcknowledged) {
  Greet();
  EXPECT_EQ(Final(Option::kAbort, "ignored"), kAck);
  EXPECT_TRUE(closed());
}

TEST_F(HandshakeTest, ListsNamesAndDescriptions) {
  Greet();
  const auto replies = Ask(Option::kList);
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[0].type, kServer);
  EXPECT_EQ(replies[0].payload, Counted("disk") + "a description");
  EXPECT_EQ(replies[1].type, kAck);
}

TEST_F(HandshakeTest, InfoAndGoGiveTheSameInfos) {
  Greet();
  const std::string data = InfoData("disk", {Info::kName, Info::kDescription, Info::kBlockSize, Info{77}});
  const auto info = Ask(Option::kInfo, data);
  EXPECT_FALSE(transmitting());
  const auto go = Ask(Option::kGo, data);
  EXPECT_TRUE(transmitting());
  ASSERT_EQ(info.size(), 5u);
  ASSERT_EQ(go.size(), info.size());
  for (size_t i = 0; i < info.size(); i++) EXPECT_EQ(info[i].payload, go[i].payload);
  EXPECT_EQ(go[0].payload.size(), 12u);
  EXPECT_EQ(go.back().type, kAck);
}

TEST_F(HandshakeTest, BlockSizeIsAlwaysTold) {
  Greet();
  const auto replies = Ask(Option::kGo, InfoData("disk"));
  ASSERT_EQ(replies.size(), 3u);
  ByteReader reader(std::as_bytes(std::span(replies[1].payload)));
  EXPECT_EQ(reader.Take<uint16_t>(), 3);
  EXPECT_EQ(reader.Take<uint32_t>(), 1u);
  EXPECT_EQ(reader.Take<uint32_t>(), 65536u);
  EXPECT_EQ(reader.Take<uint32_t>(), 32u << 20);
}

TEST_F(HandshakeTest, UnknownExportLeavesTheNegotiationGoing) {
  Greet();
  EXPECT_EQ(Final(Option::kGo, InfoData("nope")), kErrUnknown);
  EXPECT_EQ(Final(Option::kInfo, InfoData("nope")), kErrUnknown);
  EXPECT_EQ(Final(Option::kGo, InfoData("disk")), kAck);
}

TEST_F(HandshakeTest, FullExportIsRefusedByPolicy) {
  Greet();
  catalog.full = true;
  EXPECT_EQ(Final(Option::kGo, InfoData("disk")), kErrPolicy);
  EXPECT_FALSE(transmitting());
}

TEST_F(HandshakeTest, EmptyNameIsTheOnlyExport) {
  Greet();
  EXPECT_EQ(Final(Option::kInfo, InfoData("")), kAck);
  catalog.views.push_back({"other", "", 1, 4096, true, nullptr});
  EXPECT_EQ(Final(Option::kInfo, InfoData("")), kErrUnknown);
}

TEST_F(HandshakeTest, ExportNameAnswersWithoutReplyHeader) {
  Greet(3);
  Feed(OptionBytes(Option::kExportName, "disk"));
  EXPECT_EQ(out.size(), 10u);
  EXPECT_TRUE(transmitting());
}

TEST_F(HandshakeTest, ExportNamePadsForOldClients) {
  Greet(0);
  Feed(OptionBytes(Option::kExportName, "disk"));
  EXPECT_EQ(out.size(), 134u);
  EXPECT_TRUE(transmitting());
}

TEST_F(HandshakeTest, ExportNameThatFailsCloses) {
  Greet();
  Feed(OptionBytes(Option::kExportName, "nope"));
  EXPECT_TRUE(out.empty());
  EXPECT_TRUE(closed());
}

TEST_F(HandshakeTest, ExportNameMayNotFollowExtendedHeaders) {
  Greet();
  EXPECT_EQ(Final(Option::kExtendedHeaders), kAck);
  Feed(OptionBytes(Option::kExportName, "disk"));
  EXPECT_TRUE(closed());
}

TEST_F(HandshakeTest, StartTlsIsNotSupportedYet) {
  Greet();
  EXPECT_EQ(Final(Option::kStartTls), kErrUnsupported);
  EXPECT_EQ(Final(Option::kStartTls, "x"), kErrInvalid);
}

TEST_F(HandshakeTest, ExtendedHeadersTakePrecedenceOverStructuredReplies) {
  Greet();
  EXPECT_EQ(Final(Option::kStructuredReply), kAck);
  EXPECT_EQ(Final(Option::kStructuredReply), kAck);
  EXPECT_EQ(Final(Option::kExtendedHeaders), kAck);
  EXPECT_EQ(Final(Option::kStructuredReply), kErrExtendedHeadersRequired);
  EXPECT_EQ(Final(Option::kGo, InfoData("disk")), kAck);
  EXPECT_EQ(handshake.agreement().framing, Framing::kExtended);
}

// One case of malformed data each: the answer is an error, and the next option is understood.
TEST_F(HandshakeTest, MalformedOptionsAreAnsweredAndDoNotDesynchronize) {
  const std::string name_too_long = std::string(4097, 'n');
  const struct {
    const char* what;
    Option option;
    std::string data;
    OptionReply expected;
  } cases[] = {
      {"LIST with data", Option::kList, "x", kErrInvalid},
      {"STRUCTURED_REPLY with data", Option::kStructuredReply, "x", kErrInvalid},
      {"EXTENDED_HEADERS with data", Option::kExtendedHeaders, "x", kErrInvalid},
      {"unknown option", Option{4711}, std::string(1000, 'x'), kErrUnsupported},
      {"empty GO", Option::kGo, "", kErrInvalid},
      {"GO name beyond the data", Option::kGo, std::string("\0\0\0\xff", 4) + "ab", kErrInvalid},
      {"GO length wraps", Option::kGo, std::string("\xff\xff\xff\xff", 4) + "ab", kErrInvalid},
      {"GO with surplus", Option::kGo, InfoData("disk") + "x", kErrInvalid},
      {"GO with too few infos", Option::kGo, Counted("disk") + std::string("\0\5", 2), kErrInvalid},
      {"GO name with NUL", Option::kGo, InfoData(std::string_view("di\0sk", 5)), kErrInvalid},
      {"GO name not UTF-8", Option::kGo, InfoData("\xc3\x28"), kErrInvalid},
      {"GO name overlong UTF-8", Option::kGo, InfoData("\xc0\xaf"), kErrInvalid},
      {"GO name surrogate", Option::kGo, InfoData("\xed\xa0\x80"), kErrInvalid},
      {"GO name too long", Option::kGo, InfoData(name_too_long), kErrInvalid},
      {"LIST_META with surplus that looks like an option", Option::kListMetaContext,
       ContextData("disk", {}) + OptionBytes(Option::kAbort), kErrInvalid},
      {"LIST_META count beyond the data", Option::kListMetaContext,
       Counted("disk") + std::string("\xff\xff\xff\xff", 4), kErrInvalid},
      {"LIST_META query beyond the data", Option::kListMetaContext,
       Counted("disk") + std::string("\0\0\0\1\0\0\1\0", 8), kErrInvalid},
      {"LIST_META query not UTF-8", Option::kListMetaContext, ContextData("disk", {"base:\xff"}), kErrInvalid},
      {"LIST_META of no export", Option::kListMetaContext, ContextData("nope", {}), kErrUnknown},
      {"SET_META before structured replies", Option::kSetMetaContext, ContextData("disk", {}), kErrInvalid},
      {"data too long to keep", Option{99}, std::string(70'000, 'x'), kErrTooBig},
  };
  Greet();
  for (const auto& c : cases) {
    EXPECT_EQ(Final(c.option, c.data), c.expected) << c.what;
    EXPECT_EQ(Final(Option::kList), kAck) << "after " << c.what;
  }
}

TEST_F(HandshakeTest, AbsurdOptionLengthClosesAtOnce) {
  Greet();
  std::string header = OptionBytes(Option::kInfo);
  header.replace(12, 4, "\xff\xff\xff\xff");
  Feed(header);
  EXPECT_TRUE(closed());
}

TEST_F(HandshakeTest, TooManyOptionsClose) {
  Greet();
  for (unsigned i = 0; i < Handshake::kOptionsMax && !closed(); i++) Ask(Option{99});
  EXPECT_FALSE(closed());
  Ask(Option{99});
  EXPECT_TRUE(closed());
}

class MetaContextTest : public HandshakeTest {
 protected:
  void SetUp() override {
    Greet();
    ASSERT_EQ(Final(Option::kStructuredReply), kAck);
  }
  bool Selected(std::string_view go_name = "disk") {
    EXPECT_EQ(Final(Option::kGo, InfoData(go_name)), kAck);
    return handshake.agreement().contexts.bits == kBaseAllocationBit;
  }
  // The names that a SET or LIST answers with, in order, each behind its id.
  std::vector<std::string> Answered(Option option, std::initializer_list<std::string_view> queries) {
    std::vector<std::string> names;
    for (const ReplySeen& reply : Ask(option, ContextData("disk", queries))) {
      if (reply.type != kMetaContext) continue;
      const uint32_t id = LoadBig<uint32_t>(std::as_bytes(std::span(reply.payload)).data());
      names.push_back(std::to_string(id) + " " + reply.payload.substr(4));
    }
    return names;
  }
  void OfferChanges() {
    const auto runs = std::make_shared<const std::vector<ChangedRun>>(std::vector<ChangedRun>{{0, 4096}});
    catalog.views[0].contexts = std::make_shared<const std::vector<ChangedContext>>(
        std::vector<ChangedContext>{{"varve:changed:mon", runs}, {"qemu:dirty-bitmap:mon", runs}});
  }
};

TEST_F(MetaContextTest, ListsAllForNoQueryAndForTheWildcard) {
  for (const auto& data : {ContextData("disk", {}), ContextData("disk", {"base:"})}) {
    const auto replies = Ask(Option::kListMetaContext, data);
    ASSERT_EQ(replies.size(), 2u);
    EXPECT_EQ(replies[0].payload, std::string(4, '\0') + "base:allocation");
  }
}

TEST_F(MetaContextTest, UnknownContextsAreIgnored) {
  const auto data = ContextData("disk", {"base:other", "qemu:dirty-bitmap:x", "nocolon", "base:"});
  const auto replies = Ask(Option::kSetMetaContext, data);
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].type, kAck);
  EXPECT_FALSE(Selected());
}

TEST_F(MetaContextTest, DuplicatedQuerySelectsOnce) {
  const auto replies = Ask(Option::kSetMetaContext, ContextData("disk", {"base:allocation", "base:allocation"}));
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[0].payload, std::string("\0\0\0\1", 4) + "base:allocation");
  EXPECT_TRUE(Selected());
}

TEST_F(MetaContextTest, SelectionHoldsForTheDefaultNameOfTheSameExport) {
  Ask(Option::kSetMetaContext, ContextData("", {"base:allocation"}));
  EXPECT_TRUE(Selected("disk"));
}

TEST_F(MetaContextTest, SelectionOfAnotherExportDoesNotCount) {
  catalog.views.push_back({"other", "", 1, 4096, false, nullptr});
  Ask(Option::kSetMetaContext, ContextData("other", {"base:allocation"}));
  EXPECT_FALSE(Selected("disk"));
}

TEST_F(MetaContextTest, FailedSetForgetsTheSelection) {
  Ask(Option::kSetMetaContext, ContextData("disk", {"base:allocation"}));
  EXPECT_EQ(Final(Option::kSetMetaContext, ContextData("nope", {"base:allocation"})), kErrUnknown);
  EXPECT_FALSE(Selected());
}

TEST_F(MetaContextTest, FilteredStatusIsOfferedWithExtendedHeadersOnly) {
  Ask(Option::kSetMetaContext, ContextData("disk", {"base:allocation"}));
  EXPECT_EQ(Final(Option::kExtendedHeaders), kAck);
  EXPECT_TRUE(Selected());
  EXPECT_TRUE(handshake.agreement().transmission_flags & kBlockStatusPayload);
}

using Names = std::vector<std::string>;

TEST_F(MetaContextTest, ListsWhatChangedAsAWholeByNamespaceAndByName) {
  OfferChanges();
  const std::string base = "0 base:allocation", changed = "0 varve:changed:mon", dirty = "0 qemu:dirty-bitmap:mon";
  const auto list = [&](std::initializer_list<std::string_view> queries) {
    return Answered(Option::kListMetaContext, queries);
  };
  EXPECT_EQ(list({}), Names({base, changed, dirty}));
  EXPECT_EQ(list({"base:"}), Names({base}));
  EXPECT_EQ(list({"varve:"}), Names({changed}));
  EXPECT_EQ(list({"varve:changed:"}), Names({changed}));
  EXPECT_EQ(list({"qemu:"}), Names({dirty}));
  EXPECT_EQ(list({"qemu:dirty-bitmap:"}), Names({dirty}));
  EXPECT_EQ(list({"qemu:dirty-bitmap:mon", "base:"}), Names({base, dirty}));
  EXPECT_EQ(list({"varve:ch", "varve", "qemu:allocation-depth", "qemu:dirty-bitmap:m", ""}), Names());
}

TEST_F(MetaContextTest, SelectsAnySubsetUnderDistinctIds) {
  OfferChanges();
  const auto set = [&](std::initializer_list<std::string_view> queries) {
    return Answered(Option::kSetMetaContext, queries);
  };
  EXPECT_EQ(set({"qemu:dirty-bitmap:mon", "base:allocation", "varve:changed:mon", "base:allocation"}),
            Names({"1 base:allocation", "2 varve:changed:mon", "3 qemu:dirty-bitmap:mon"}));
  EXPECT_EQ(set({"varve:", "qemu:dirty-bitmap:", "varve:changed:tue", "base:"}), Names()) << "no wildcards in SET";
  EXPECT_EQ(set({"qemu:dirty-bitmap:mon"}), Names({"3 qemu:dirty-bitmap:mon"}));
  EXPECT_EQ(Final(Option::kGo, InfoData("disk")), kAck);
  const Selection& agreed = handshake.agreement().contexts;
  EXPECT_EQ(agreed.bits, ContextBit(3)) << "the last SET replaces those before";
  EXPECT_EQ(agreed.RunsOf(3), catalog.views[0].contexts->at(1).runs.get());
}

TEST_F(MetaContextTest, FailedAndOversizedSetForgetChangesToo) {
  OfferChanges();
  for (const bool oversized : {false, true}) {
    EXPECT_EQ(Answered(Option::kSetMetaContext, {"varve:changed:mon"}).size(), 1u);
    EXPECT_NE(Final(Option::kSetMetaContext, oversized ? std::string(70'000, 'x') : "x"), kAck);
    EXPECT_EQ(Final(Option::kExtendedHeaders), kAck);
    const auto info = Ask(Option::kInfo, InfoData("disk"));
    const uint16_t flags = LoadBig<uint16_t>(std::as_bytes(std::span(info[0].payload)).data() + 10);
    EXPECT_FALSE(flags & kBlockStatusPayload) << "nothing is selected";
  }
  EXPECT_EQ(Final(Option::kGo, InfoData("disk")), kAck);
  EXPECT_TRUE(handshake.agreement().contexts.empty());
}

TEST_F(MetaContextTest, ChangesOfAnotherExportAreNotItsOwn) {
  OfferChanges();
  catalog.views.push_back({"other", "", 1, 4096, false, nullptr});
  EXPECT_EQ(Answered(Option::kSetMetaContext, {"varve:changed:mon"}).size(), 1u);
  EXPECT_EQ(Final(Option::kGo, InfoData("other")), kAck);
  EXPECT_TRUE(handshake.agreement().contexts.empty());
}

// Its changes are another's: told under the selected id they would make a backup miss data.
TEST_F(MetaContextTest, ClosesWhenTheExportWasReplacedBetweenSelectionAndGo) {
  OfferChanges();
  EXPECT_EQ(Answered(Option::kSetMetaContext, {"varve:changed:mon"}).size(), 1u);
  OfferChanges();
  EXPECT_TRUE(Ask(Option::kGo, InfoData("disk")).empty());
  EXPECT_TRUE(closed());
}

TEST_F(MetaContextTest, BaseAllocationAloneOutlivesAReplacedExport) {
  OfferChanges();
  EXPECT_EQ(Answered(Option::kSetMetaContext, {"base:allocation"}).size(), 1u);
  OfferChanges();
  EXPECT_TRUE(Selected());
}

TEST(ContextsTest, OnlyNamesAndRunsThatAClientCanUseAreTaken) {
  const auto check = [](std::vector<ChangedContext> contexts) { return CheckContexts(contexts).error(); };
  const auto runs = [](std::vector<ChangedRun> list) {
    return std::make_shared<const std::vector<ChangedRun>>(std::move(list));
  };
  EXPECT_EQ(check({{"varve:changed:a", runs({})}, {"varve:changed:b", runs({{0, 1}, {2, 1}, {100, 1}})}}), 0);
  for (const char* name : {"", "plain", "varve:", "base:allocation", "base:x", "a:\xff"}) {
    EXPECT_EQ(check({{name, runs({})}}), EINVAL) << name;
  }
  EXPECT_EQ(check({{"v:a", runs({})}, {"v:a", runs({})}}), EINVAL);
  EXPECT_EQ(check({{"v:a", nullptr}}), EINVAL);
  EXPECT_EQ(check({{"v:a", runs({{0, 0}})}}), EINVAL) << "empty";
  EXPECT_EQ(check({{"v:a", runs({{0, 2}, {2, 1}})}}), EINVAL) << "touching";
  EXPECT_EQ(check({{"v:a", runs({{4, 1}, {0, 1}})}}), EINVAL) << "descending";
  EXPECT_EQ(check({{"v:a", runs({{8, UINT64_MAX - 4}})}}), EINVAL) << "wraps";
  std::vector<ChangedContext> many;
  for (size_t i = 0; i <= kChangedContextsMax; i++) many.push_back({"v:" + std::to_string(i), runs({})});
  EXPECT_EQ(check(many), EINVAL);
  many.pop_back();
  EXPECT_EQ(check(many), 0);
}

TEST_F(HandshakeTest, ReadOnlyExportOffersNothingThatWrites) {
  catalog.views[0].read_only = true;
  Greet();
  EXPECT_EQ(Final(Option::kGo, InfoData("disk")), kAck);
  const uint16_t flags = handshake.agreement().transmission_flags;
  EXPECT_TRUE(flags & kReadOnly);
  EXPECT_FALSE(flags & (kSendTrim | kSendWriteZeroes | kSendFastZero));
  EXPECT_FALSE(flags & kSendDontFragment) << "simple replies have no DF";
}

}  // namespace
}  // namespace varve::nbd
