#include "catch.h"
#include "hex.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/checkpoint.h"

using namespace tenancy;
using namespace tenancy::log;

namespace {

// Key pair, text and note of golang.org/x/mod/sumdb/note (note_test.go), the reference
// implementation of C2SP signed notes.
constexpr std::string_view kPeterVerifier =
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

Ed25519Seed seed_of(uint8_t first) {
  Ed25519Seed seed{};
  seed[0] = first;
  return seed;
}

struct Signed {
  LogId log_id{1, 2, 3};
  Ed25519Seed seed = seed_of(7);
  Ed25519Public key = ed25519_public(seed);
  VerifierKey verifier{log_origin(log_id), key};
  Checkpoint checkpoint;
  std::string note;

  Signed() {
    checkpoint.origin = log_origin(log_id);
    checkpoint.number = 41;
    checkpoint.root = leaf("root");
    for (size_t i = 0; i < kClasses; ++i) {
      checkpoint.chains[i] = {1000 * i, leaf("chain"), i, leaf("tenants")};
    }
    checkpoint.epoch = 3;
    checkpoint.time_ns = 1'700'000'000'123'456'789;
    note = sign_note(checkpoint, seed, key);
  }
  static Digest256 leaf(std::string_view text) { return sha256(text); }
  Result<Checkpoint> open(const std::string& text) const { return open_note(text, verifier); }
  Code code(const std::string& text) const { return open(text).error().code; }
};

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  const size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), with);
}

}  // namespace

TEST_CASE("verifier keys are those of C2SP signed notes") {
  const auto peter = parse_verifier_key(kPeterVerifier);
  REQUIRE(peter.ok());
  CHECK(peter->name == "PeterNeumann");
  CHECK(verifier_key(peter->name, peter->key) == kPeterVerifier);
  CHECK(parse_verifier_key(std::string(kPeterVerifier) + "\n").ok());

  const std::string text(kPeterVerifier);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] + 1);
    CHECK_FALSE(parse_verifier_key(changed).ok());
    CHECK_FALSE(parse_verifier_key(text.substr(0, i)).ok());
    if (i > 0) CHECK_FALSE(parse_verifier_key(text.substr(i)).ok());
  }
  // From the same source: a key too long, and an algorithm nobody knows, with right key hashes.
  CHECK_FALSE(parse_verifier_key(
                  "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==")
                  .ok());
  CHECK_FALSE(
      parse_verifier_key("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
          .ok());
}

TEST_CASE("a checkpoint is a signed note of the documented form") {
  const Signed made;
  const auto opened = made.open(made.note);
  REQUIRE(opened.ok());
  CHECK(opened->text() == made.checkpoint.text());
  CHECK(opened->number == 41);
  CHECK(opened->chains == made.checkpoint.chains);
  CHECK(opened->epoch == 3);
  CHECK(opened->time_ns == made.checkpoint.time_ns);
  CHECK(made.note.starts_with("tenancy-log/01020300000000000000000000000000\n42\n"));
  CHECK(made.note.find("\nchain access 1000 ") != std::string::npos);
  CHECK(made.note.find("\nepoch 3 1700000000123456789\n\n\xe2\x80\x94 tenancy-log/") !=
        std::string::npos);
}

TEST_CASE("the signature is that of Ed25519 over the text with its last newline") {
  const Signed made;
  const size_t split = made.note.find("\n\n");
  const std::string text = made.note.substr(0, split + 1);
  const auto signature = ed25519_sign(made.seed, text);
  CHECK(ed25519_verify(made.key, made.checkpoint.text(), signature));
  CHECK(text == made.checkpoint.text());
}

TEST_CASE("signatures of others are skipped, a wrong one of the log's key is not") {
  const Signed made;
  const std::string witness =
      "\xe2\x80\x94 witness.example/w "
      "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
      "\n";
  CHECK(made.open(made.note + witness).ok());
  const size_t split = made.note.find("\n\n") + 2;
  CHECK(made.open(made.note.substr(0, split) + witness + made.note.substr(split)).ok());
  CHECK(made.code(made.note.substr(0, split) + witness) == Code::kConflict);

  const std::string other = sign_note(made.checkpoint, seed_of(8), ed25519_public(seed_of(8)));
  CHECK(made.code(other) == Code::kConflict);
  // The key hash of the right key over a signature of another one.
  const std::string forged = sign_note(made.checkpoint, seed_of(8), made.key);
  CHECK(made.code(forged) == Code::kConflict);
  CHECK(made.code(forged + made.note.substr(split)) == Code::kConflict);

  std::string many = made.note;
  for (int i = 0; i < 99; ++i) many += witness;
  CHECK(made.open(many).ok());
  std::string too_many = made.note.substr(0, split);
  for (int i = 0; i < 101; ++i) too_many += witness;
  CHECK(made.code(too_many) == Code::kDamaged);
}

TEST_CASE("a checkpoint of another log is told from a damaged one") {
  const Signed made;
  Checkpoint other = made.checkpoint;
  other.origin = log_origin(LogId{9});
  CHECK(made.code(sign_note(other, made.seed, made.key)) == Code::kForeign);
}

TEST_CASE("hostile notes are refused") {
  const Signed made;
  const std::string& note = made.note;
  const auto resigned = [&](const std::string& text) {
    // Even when the log's key had signed it.
    std::string line = made.note.substr(made.note.find("\n\n") + 2);
    return text + "\n" + line;
  };
  const std::string text = made.checkpoint.text();
  CHECK(made.open(resigned(text)).ok());
  for (const std::string& bad :
       {replaced(text, "\n42\n", "\n042\n"), replaced(text, "\n42\n", "\n+42\n"),
        replaced(text, "\n42\n", "\n-1\n"), replaced(text, "\n42\n", "\n0\n"),
        replaced(text, "\n42\n", "\n99999999999999999999\n"), replaced(text, "\n42\n", "\n\n"),
        replaced(text, "chain access 1000", "chain access 1000 "),
        replaced(text, "chain access", "chain other"),
        replaced(text, "chain access", "Chain access"),
        replaced(text, "epoch 3", "epoch 4294967296"), replaced(text, "epoch 3 ", "epoch 3  "),
        replaced(text, "epoch 3", "epoch"), text + "more\n", text + " \n",
        text.substr(0, text.size() - 1), std::string("\n"), std::string("a\n"),
        replaced(text, "=", "\t"), replaced(text, "=", "\r")}) {
    INFO(bad);
    CHECK(made.code(resigned(bad)) == Code::kDamaged);
  }
  for (size_t i = 0; i < note.size(); ++i) {
    CHECK_FALSE(made.open(note.substr(0, i)).ok());
    std::string changed = note;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    CHECK_FALSE(made.open(changed).ok());
    changed[i] = '\0';
    CHECK_FALSE(made.open(changed).ok());
    changed[i] = '\xff';
    CHECK_FALSE(made.open(changed).ok());
  }
  const std::string signature = note.substr(note.find("\n\n") + 2);
  for (const std::string& line :
       {std::string("\n"), std::string("x\n"), "- " + signature.substr(4),
        replaced(signature, "\xe2\x80\x94 ", "\xe2\x80\x94"),
        signature.substr(0, signature.size() - 1), replaced(signature, "=\n", "\n"),
        std::string("\xe2\x80\x94 name AAAA\n")}) {
    INFO(line);
    CHECK(made.code(text + "\n" + line) == Code::kDamaged);
  }
  CHECK(made.code("") == Code::kDamaged);
  CHECK(made.code(std::string(2U << 20, 'a') + "\n\n") == Code::kDamaged);
}

TEST_CASE("frames are split up to the first that is torn") {
  const std::string file = frame_checkpoint("first") + frame_checkpoint("the second");
  uint64_t end = 0;
  CHECK(split_checkpoints(file, &end) == std::vector<std::string_view>{"first", "the second"});
  CHECK(end == file.size());
  for (size_t bytes = 0; bytes < file.size(); ++bytes) {
    const size_t whole = bytes >= 13 ? 1 : 0;
    CHECK(split_checkpoints(std::string_view(file).substr(0, bytes), &end).size() == whole);
    CHECK(end == 13 * whole);
  }
  for (size_t at = 0; at < file.size(); ++at) {
    std::string changed = file;
    changed[at] = static_cast<char>(changed[at] ^ 0x80);
    CHECK(split_checkpoints(changed, &end).size() == (at < 13 ? 0U : 1U));
  }
  CHECK(split_checkpoints(std::string(100, '\0'), &end).empty());
  CHECK(split_checkpoints(std::string(100, '\xff'), &end).empty());
}
