#include "tenancy/log/verify.h"

#include <algorithm>
#include <optional>

#include "tenancy/log/bytes.h"
#include "tenancy/log/verify_chain.h"

namespace tenancy::log {
namespace {

constexpr uint64_t kCheckpointsBytesMax = uint64_t{1} << 32;

class Verifier {
 public:
  Verifier(Files& files, const VerifyOptions& options)
      : files_(files), options_(options), paths_(Paths::of_log(options.log_directory)) {}
  Report run();

 private:
  void find(Verdict verdict, std::string code, std::string text, std::string file,
            uint64_t offset = 0);
  bool load_key();
  bool list_segments();
  void load_manifest();
  void load_head();
  void check_tenants_file();
  bool key_fits();
  void load_checkpoints();
  void load_anchors();
  void add_milestones(const Checkpoint& checkpoint, const std::string& file, bool anchor);
  void conclude();
  // The block's MAC under the key of its epoch.
  bool authentic(const BlockView& block);

  Files& files_;
  const VerifyOptions& options_;
  const Paths paths_;
  Report report_;
  std::optional<KeySchedule> keys_;
  std::array<std::vector<uint64_t>, kClasses> segments_;
  std::optional<Manifest> manifest_;
  std::optional<Head> head_;
  std::vector<std::string> notes_;
  std::array<ChainInput, kClasses> inputs_;
  bool anything_authentic_ = false;
  bool nothing_there_ = true;
};

void Verifier::find(Verdict verdict, std::string code, std::string text, std::string file,
                    uint64_t offset) {
  Finding finding;
  finding.verdict = verdict;
  finding.code = std::move(code);
  finding.text = std::move(text);
  finding.file = std::move(file);
  finding.offset = offset;
  report_.findings.push_back(std::move(finding));
}

bool Verifier::authentic(const BlockView& block) {
  const HmacKey* const key = keys_->file_key(block.epoch);
  const bool right = block.log_id == keys_->log_id() && key != nullptr && block.mac_is(*key);
  anything_authentic_ = anything_authentic_ || right;
  return right;
}

bool Verifier::load_key() {
  const Result<StoredKey> key = read_key(files_, options_.key_path);
  if (!key) {
    const bool unreadable =
        key.error().code == Code::kDamaged || key.error().code == Code::kForeign;
    find(Verdict::kCannotVerify, unreadable ? "wrong_key" : "io_error", key.error().message, "");
    return false;
  }
  if (key->key.epoch() != 0) {
    find(Verdict::kCannotVerify, "wrong_key",
         options_.key_path + ": is the key of epoch " + std::to_string(key->key.epoch()) +
             "; expected the verification key, keys/log.verify as it was when the log was made",
         "");
    return false;
  }
  keys_.emplace(key->key);
  report_.log_id = hex(key->key.log_id());
  return true;
}

bool Verifier::list_segments() {
  if (const auto log = files_.list(paths_.log); !log) {
    find(Verdict::kCannotVerify, log.error().code == Code::kNotFound ? "not_a_log" : "io_error",
         log.error().message, "");
    return false;
  }
  const Result<std::vector<std::string>> names = files_.list(paths_.segments);
  if (!names && names.error().code != Code::kNotFound) {
    find(Verdict::kCannotVerify, "io_error", names.error().message, "segments");
    return false;
  }
  if (!names) return true;
  for (const std::string& name : *names) {
    if (const auto parsed = parse_segment_name(name)) {
      segments_[index(parsed->chain)].push_back(parsed->first);
      nothing_there_ = false;
    } else if (!name.ends_with(".new")) {
      find(Verdict::kQualified, "unexpected_file", "not a segment", "segments/" + name);
    }
  }
  return true;
}

void Verifier::load_manifest() {
  const Result<std::string> bytes = read_file(files_, paths_.log + "/manifest", kStateFileBytesMax);
  if (!bytes) {
    const bool absent = bytes.error().code == Code::kNotFound;
    find(absent ? Verdict::kTampered : Verdict::kCannotVerify,
         absent ? "manifest_missing" : "io_error", bytes.error().message, "manifest");
    return;
  }
  nothing_there_ = false;
  const Result<BlockView> block = parse_block(kManifestMagic, *bytes);
  if (!block) {
    const bool version = block.error().code == Code::kVersion;
    find(version ? Verdict::kCannotVerify : Verdict::kTampered,
         version ? "version" : "manifest_damaged", block.error().message, "manifest");
    return;
  }
  if (block->bytes.size() != bytes->size()) {
    find(Verdict::kTampered, "manifest_damaged", "there are bytes behind the manifest", "manifest",
         block->bytes.size());
    return;
  }
  if (!authentic(*block)) {
    find(Verdict::kTampered, "manifest_mac", "the manifest is not authentic", "manifest");
    return;
  }
  Result<Manifest> manifest = Manifest::parse(*block);
  if (!manifest || manifest->key_check != keys_->first().check()) {
    find(Verdict::kTampered, "manifest_content", "the manifest contradicts itself", "manifest");
    return;
  }
  manifest_ = std::move(*manifest);
}

void Verifier::load_head() {
  const Result<HeadSlots> slots = read_head(files_, paths_);
  if (!slots) {
    const bool absent = slots.error().code == Code::kNotFound;
    find(absent ? Verdict::kTampered : Verdict::kCannotVerify, absent ? "head_missing" : "io_error",
         slots.error().message, "head");
    return;
  }
  nothing_there_ = false;
  const HeadSlots::Slot* best = nullptr;
  for (size_t i = 0; i < kHeadSlots; ++i) {
    const HeadSlots::Slot& slot = slots->slots[i];
    const uint64_t offset = i * kHeadSlotBytes;
    if (slot.empty) continue;
    if (slot.torn) {
      find(Verdict::kQualified, "head_torn", "one of the slots is torn or damaged", "head", offset);
      continue;
    }
    if (!authentic(*parse_block(kHeadMagic, slot.bytes))) {
      find(Verdict::kTampered, "head_mac", "the head is not authentic", "head", offset);
      continue;
    }
    if (best == nullptr || slot.head.generation > best->head.generation) best = &slot;
  }
  if (best == nullptr) {
    find(Verdict::kTampered, "head_damaged", "no slot of the head is whole and authentic", "head");
    return;
  }
  head_ = best->head;
}

// Neither manifest nor head nor the first record of a chain: then it is the key that is wrong.
bool Verifier::key_fits() {
  for (size_t i = 0; i < kClasses && !anything_authentic_; ++i) {
    if (segments_[i].empty()) continue;
    const auto chain = static_cast<Class>(i);
    Result<SegmentReader> reader =
        SegmentReader::open(files_, paths_.segments + "/" + segment_name(chain, segments_[i][0]));
    SegmentReader::Item item;
    if (!reader || !reader->next(&item) || item.step != SegmentReader::Step::kRecord) continue;
    const HmacKey* const key = keys_->record_key(chain, item.record.epoch());
    anything_authentic_ =
        key != nullptr &&
        equal_constant_time(as_view(key->mac(item.record.maced())), as_view(item.record.tag()));
  }
  return anything_authentic_ || nothing_there_;
}

void Verifier::check_tenants_file() {
  const Result<std::string> bytes = read_file(files_, paths_.log + "/tenants", kStateFileBytesMax);
  if (!bytes && bytes.error().code == Code::kNotFound) return;
  const Result<BlockView> block =
      bytes ? parse_block(kTenantsMagic, *bytes) : Result<BlockView>(bytes.status());
  if (!block || block->bytes.size() != bytes->size() || !authentic(*block)) {
    find(Verdict::kTampered, "tenants_damaged",
         block ? "the file of tenants is not authentic" : block.error().message, "tenants");
  }
}

void Verifier::add_milestones(const Checkpoint& checkpoint, const std::string& file, bool anchor) {
  for (size_t i = 0; i < kClasses; ++i) {
    const ChainHead& head = checkpoint.chains[i];
    inputs_[i].milestones.emplace(head.size, Milestone{head, file, anchor});
  }
}

void Verifier::load_checkpoints() {
  const Result<std::string> bytes =
      read_file(files_, paths_.log + "/checkpoints", kCheckpointsBytesMax);
  const std::string empty;
  if (!bytes && bytes.error().code != Code::kNotFound) {
    find(Verdict::kCannotVerify, "io_error", bytes.error().message, "checkpoints");
    return;
  }
  uint64_t end = 0;
  const std::string& content = bytes ? *bytes : empty;
  for (const std::string_view note : split_checkpoints(content, &end)) notes_.emplace_back(note);
  const uint64_t promised = head_ ? head_->checkpoints : 0;
  if (notes_.size() < promised) {
    find(Verdict::kTampered, end == content.size() ? "checkpoint_missing" : "checkpoint_damaged",
         "the head promises " + std::to_string(promised) + " checkpoints, there are " +
             std::to_string(notes_.size()),
         "checkpoints", end);
  } else if (end != content.size()) {
    find(Verdict::kQualified, "checkpoint_torn", "bytes that are no checkpoint", "checkpoints",
         end);
  }
  if (!manifest_) return;
  const VerifierKey key{log_origin(keys_->log_id()), manifest_->public_key};
  CompactRange tree;
  std::array<uint64_t, kClasses> sizes{};
  uint64_t offset = 0;
  for (size_t number = 0; number < notes_.size(); ++number) {
    const uint64_t at = std::exchange(offset, offset + notes_[number].size() + 8);
    const Result<Checkpoint> checkpoint = open_note(notes_[number], key);
    if (!checkpoint) {
      const Code code = checkpoint.error().code;
      find(Verdict::kTampered,
           code == Code::kConflict  ? "checkpoint_signature"
           : code == Code::kForeign ? "checkpoint_content"
                                    : "checkpoint_damaged",
           checkpoint.error().message, "checkpoints", at);
      return;
    }
    tree.append(leaf_hash(checkpoint->leaf()));
    if (checkpoint->number != number || checkpoint->root != tree.root()) {
      find(Verdict::kTampered, "checkpoint_tree", "the checkpoint does not continue those before",
           "checkpoints", at);
      return;
    }
    for (size_t i = 0; i < kClasses; ++i) {
      if (checkpoint->chains[i].size < sizes[i]) {
        find(Verdict::kTampered, "checkpoint_content", "the checkpoint covers less than one before",
             "checkpoints", at);
        return;
      }
      sizes[i] = checkpoint->chains[i].size;
    }
    add_milestones(*checkpoint, "checkpoint " + std::to_string(number), false);
    ++report_.checkpoints;
  }
}

void Verifier::load_anchors() {
  if (options_.anchors.empty()) {
    find(Verdict::kQualified, "unanchored",
         "no anchor was given: a cut behind the last head, or an older copy of the whole "
         "directory, cannot be seen",
         "");
    return;
  }
  if (!manifest_) return;
  const VerifierKey key{log_origin(keys_->log_id()), manifest_->public_key};
  for (size_t i = 0; i < options_.anchors.size(); ++i) {
    const std::string name = "anchor " + std::to_string(i + 1);
    const Result<Checkpoint> checkpoint = open_note(options_.anchors[i], key);
    if (!checkpoint) {
      find(Verdict::kTampered, "anchor_signature", name + ": " + checkpoint.error().message, "");
      continue;
    }
    if (checkpoint->number >= notes_.size()) {
      find(Verdict::kTampered, "rolled_back",
           name + " is checkpoint " + std::to_string(checkpoint->number) + ", the log has " +
               std::to_string(notes_.size()),
           "checkpoints");
    }
    add_milestones(*checkpoint, name, true);
    ++report_.anchors;
  }
}

void Verifier::conclude() {
  const auto has = [&](Verdict verdict) { return report_.first(verdict) != nullptr; };
  report_.verdict = has(Verdict::kTampered)       ? Verdict::kTampered
                    : has(Verdict::kCannotVerify) ? Verdict::kCannotVerify
                    : has(Verdict::kQualified)    ? Verdict::kQualified
                                                  : Verdict::kWhole;
}

Report Verifier::run() {
  if (!load_key() || !list_segments()) {
    conclude();
    return std::move(report_);
  }
  load_manifest();
  load_head();
  check_tenants_file();
  if (!key_fits()) {
    report_.findings.clear();
    find(Verdict::kCannotVerify, "wrong_key",
         options_.key_path + ": nothing in this log was made with this key", "");
    conclude();
    return std::move(report_);
  }
  load_checkpoints();
  load_anchors();
  for (size_t i = 0; i < kClasses; ++i) {
    ChainInput& input = inputs_[i];
    input.chain = static_cast<Class>(i);
    input.segments = segments_[i];
    input.manifest = manifest_ ? &*manifest_ : nullptr;
    if (head_) input.head = head_->chains[i];
    input.notes = &notes_;
    input.now_ns = options_.now_ns;
    ChainVerifier(files_, paths_, *keys_, input, &report_).run();
  }
  if (!options_.host_key_path.empty() &&
      files_.open(options_.host_key_path, OpenMode::kRead).ok()) {
    find(Verdict::kWhole, "key_on_host",
         options_.host_key_path +
             ": the verification key is still on the host that writes the "
             "log; move it away",
         "");
  }
  conclude();
  return std::move(report_);
}

}  // namespace

const Finding* Report::first(Verdict wanted) const {
  const auto found = std::find_if(findings.begin(), findings.end(), [&](const Finding& finding) {
    return finding.verdict == wanted;
  });
  return found == findings.end() ? nullptr : &*found;
}

Report verify(Files& files, const VerifyOptions& options) { return Verifier(files, options).run(); }

}  // namespace tenancy::log
