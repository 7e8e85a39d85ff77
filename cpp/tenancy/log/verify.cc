#include "tenancy/log/verify.h"

#include <algorithm>
#include <memory>

#include "tenancy/log/bytes.h"
#include "tenancy/log/json_text.h"
#include "tenancy/log/verify_chain.h"

namespace tenancy::log {
namespace {

constexpr std::string_view kTemporarySuffix = ".new";
constexpr int kTriesMax = 5;      // beside a log whose segments are being pruned
constexpr int kTornTriesMax = 3;  // a tear that is gone when looked at again was a write under way

Finding found(Verdict verdict, std::string code, std::string file, std::string text) {
  Finding out;
  out.verdict = verdict;
  out.code = std::move(code);
  out.file = std::move(file);
  out.text = std::move(text);
  return out;
}

std::string text_of(uint64_t number) { return std::to_string(number); }

// Everything that is read before the chains, and what follows from them.
class Verification {
 public:
  Verification(Files& files, const VerifyOptions& options)
      : files_(files), options_(options), paths_(Paths::of_log(options.log_directory)) {}

  Report run();
  // Whether a chain was pruned while it was read.
  bool pruned_meanwhile();
  // Whether anything was written to the log while it was read.
  bool written_meanwhile();
  // Of a log that was pruned each time: nothing can be said of it.
  Report busy();

 private:
  bool read_key();
  bool list();
  bool read_manifest();
  void read_head();
  void read_slot(size_t which, const HeadSlots::Slot& slot);
  bool key_fits();
  bool first_record(size_t chain);
  void read_tenants();
  void read_checkpoints();
  void read_note(size_t which, std::string_view note, uint64_t offset);
  void judge_rest(uint64_t end, uint64_t size);
  void read_anchors();
  void divide(size_t chain, ChainClaims* claims);
  void prepare(size_t chain);
  void check_chain(size_t chain);
  void judge_anchors();
  void judge_keys_of_subjects();
  void look_for_key();
  void conclude();

  void add(Finding finding) { report_.findings.push_back(std::move(finding)); }
  void cannot(std::string code, std::string file, std::string text) {
    add(found(Verdict::kCannotVerify, std::move(code), std::move(file), std::move(text)));
  }
  void tampered(std::string code, std::string file, std::string text) {
    add(found(Verdict::kTampered, std::move(code), std::move(file), std::move(text)));
  }
  void checkpoint(Verdict verdict, std::string code, uint64_t offset, std::string text) {
    Finding finding = found(verdict, std::move(code), "checkpoints", std::move(text));
    finding.offset = offset;
    add(std::move(finding));
  }

  Files& files_;
  const VerifyOptions& options_;
  const Paths paths_;
  Report report_;
  std::unique_ptr<VerifyKeys> keys_;
  std::array<std::vector<uint64_t>, kClasses> firsts_;
  std::array<std::vector<uint64_t>, kClasses> stubs_;
  bool anything_ = false;          // a file of a log is there
  bool anything_is_ours_ = false;  // and verifies with the key
  std::vector<Finding> unexpected_;
  std::optional<Manifest> manifest_;
  std::optional<Head> head_;
  std::optional<TenantsFile> tenants_;
  std::optional<Ed25519Public> genesis_key_;
  uint32_t epoch_max_ = 0;
  std::vector<Checkpoint> checkpoints_;
  std::vector<std::pair<size_t, Checkpoint>> anchors_;
  bool checkpoints_whole_ = true;  // every note so far could be read
  CompactRange checkpoint_tree_;
  std::vector<Digest256> note_hashes_;
  std::vector<uint64_t> note_offsets_;
  std::vector<Finding> anchor_findings_;  // told after the chains
  std::array<ChainClaims, kClasses> claims_;
  SubjectMentions subjects_;
  std::string subjects_before_;  // the file of keys, as it was before the chains were read
  bool security_damaged_ = false;
};

bool Verification::read_key() {
  const Result<StoredKey> key = log::read_key(files_, options_.key_path);
  if (!key) {
    const Code code = key.error().code;
    const bool unreadable =
        code == Code::kNotFound || code == Code::kIo || code == Code::kPermission;
    cannot(unreadable               ? "io_error"
           : code == Code::kVersion ? "version"
                                    : "wrong_key",
           "", key.error().message);
    return false;
  }
  if (key->key.epoch() != 0) {
    cannot("wrong_key", "",
           options_.key_path + ": is the key of epoch " + text_of(key->key.epoch()) +
               "; verifying needs that of epoch 0, keys/log.verify");
    return false;
  }
  keys_ = std::make_unique<VerifyKeys>(key->key);
  report_.log_id = hex(key->key.log_id());
  return true;
}

bool Verification::list() {
  for (auto& firsts : firsts_) firsts.clear();
  for (auto& stubs : stubs_) stubs.clear();
  unexpected_.clear();
  if (const auto log = files_.list(paths_.log); !log) {
    if (log.error().code == Code::kNotFound) {
      cannot("not_a_log", "", paths_.log + ": there is no log here");
    } else {
      cannot("io_error", "", log.error().message);
    }
    return false;
  }
  const Result<std::vector<std::string>> names = files_.list(paths_.segments);
  if (!names && names.error().code != Code::kNotFound) {
    cannot("io_error", "segments", names.error().message);
    return false;
  }
  if (!names) return true;
  for (const std::string& name : *names) {
    if (const auto parsed = parse_segment_name(name)) {
      firsts_[index(parsed->chain)].push_back(parsed->first);
      anything_ = true;
      continue;
    }
    if (const auto parsed = parse_stub_name(name)) {
      stubs_[index(parsed->chain)].push_back(parsed->first);
      anything_ = true;
      continue;
    }
    std::string_view plain = name;
    if (plain.ends_with(kTemporarySuffix)) plain.remove_suffix(kTemporarySuffix.size());
    if (plain.size() < name.size() && (parse_segment_name(plain) || parse_stub_name(plain))) {
      continue;
    }
    unexpected_.push_back(found(Verdict::kQualified, "unexpected_file",
                                "segments/" + printable(name), "no segment bears such a name"));
  }
  return true;
}

// False when nothing more can be said.
bool Verification::read_manifest() {
  const Result<std::string> bytes = read_file(files_, paths_.log + "/manifest", kStateFileBytesMax);
  if (!bytes) {
    if (bytes.error().code != Code::kNotFound) {
      cannot("io_error", "manifest", bytes.error().message);
      return false;
    }
    tampered("manifest_missing", "manifest", "the log has no manifest");
    return true;
  }
  anything_ = true;
  report_.bytes += bytes->size();
  const Result<BlockView> block = parse_block(kManifestMagic, *bytes);
  if (!block && block.error().code == Code::kVersion) {
    cannot("version", "manifest", block.error().message);
    return false;
  }
  if (!block || block->bytes.size() != bytes->size()) {
    tampered("manifest_damaged", "manifest",
             block ? "the file goes on behind its block" : block.error().message);
    return true;
  }
  if (!keys_->is_ours(*block)) {
    tampered("manifest_mac", "manifest", "the manifest was not written by this log");
    return true;
  }
  anything_is_ours_ = true;
  epoch_max_ = std::max(epoch_max_, block->epoch);
  Result<Manifest> manifest = Manifest::parse(*block);
  if (!manifest || manifest->key_check != keys_->check()) {
    tampered("manifest_content", "manifest", "the manifest contradicts itself or the key");
    return true;
  }
  manifest_ = std::move(*manifest);
  return true;
}

void Verification::read_head() {
  const std::string path = paths_.log + "/head";
  const Result<std::string> bytes = read_file(files_, path, uint64_t{1} << 30);
  if (!bytes) {
    if (bytes.error().code == Code::kNotFound) {
      tampered("head_missing", "head", "the log has no head");
    } else {
      cannot("io_error", "head", bytes.error().message);
    }
    return;
  }
  anything_ = true;
  report_.bytes += bytes->size();
  if (bytes->size() != kHeadSlots * kHeadSlotBytes) {
    tampered("head_damaged", "head",
             "expected " + text_of(kHeadSlots * kHeadSlotBytes) + " bytes, found " +
                 text_of(bytes->size()));
    if (bytes->size() > kHeadSlots * kHeadSlotBytes) return;
  }
  const Result<HeadSlots> slots = log::read_head(files_, paths_);
  if (!slots) {
    cannot("io_error", "head", slots.error().message);
    return;
  }
  const size_t before = report_.findings.size();
  for (size_t i = 0; i < kHeadSlots; ++i) read_slot(i, slots->slots[i]);
  const bool mac_wrong =
      std::any_of(report_.findings.begin() + static_cast<ptrdiff_t>(before), report_.findings.end(),
                  [](const Finding& finding) { return finding.code == "head_mac"; });
  if (!head_ && !mac_wrong) tampered("head_damaged", "head", "the head has no whole slot");
}

void Verification::read_slot(size_t which, const HeadSlots::Slot& slot) {
  if (slot.empty) return;
  Finding finding =
      found(Verdict::kQualified, "head_torn", "head", "slot " + text_of(which) + " is torn");
  finding.offset = which * kHeadSlotBytes;
  if (slot.torn) return add(std::move(finding));
  const Result<BlockView> block = parse_block(kHeadMagic, slot.bytes);
  if (!block || !keys_->is_ours(*block)) {
    finding.verdict = Verdict::kTampered;
    finding.code = "head_mac";
    finding.text = "slot " + text_of(which) + " was not written by this log";
    return add(std::move(finding));
  }
  anything_is_ours_ = true;
  epoch_max_ = std::max(epoch_max_, block->epoch);
  if (!head_ || slot.head.generation > head_->generation) head_ = slot.head;
}

// Whether the first record of the chain verifies; if so, and it names a key for notes, that one.
bool Verification::first_record(size_t chain) {
  if (firsts_[chain].empty()) return false;
  const auto chain_class = static_cast<Class>(chain);
  Result<SegmentReader> reader = SegmentReader::open(
      files_, paths_.segments + "/" + segment_name(chain_class, firsts_[chain].front()));
  if (!reader) return false;
  SegmentReader::Item item;
  if (!reader->next(&item) || item.step != SegmentReader::Step::kRecord) return false;
  const HmacKey* const key = keys_->record_key(chain_class, item.record.epoch());
  if (key == nullptr ||
      !equal_constant_time(as_view(key->mac(item.record.maced())), as_view(item.record.tag()))) {
    return false;
  }
  const std::optional<Value> named = item.record.find(FieldId::kPublicKey);
  if (named && named->bytes.size() == sizeof(Ed25519Public)) {
    genesis_key_ = get_bytes<Ed25519Public>(named->bytes.data());
  }
  return true;
}

bool Verification::key_fits() {
  for (size_t i = 0; i < kClasses; ++i) anything_is_ours_ |= first_record(i);
  return anything_is_ours_;
}

void Verification::read_tenants() {
  const Result<std::string> bytes = read_file(files_, paths_.log + "/tenants", kStateFileBytesMax);
  if (!bytes) {
    if (bytes.error().code != Code::kNotFound) cannot("io_error", "tenants", bytes.error().message);
    return;
  }
  report_.bytes += bytes->size();
  const Result<BlockView> block = parse_block(kTenantsMagic, *bytes);
  if (!block || block->bytes.size() != bytes->size()) {
    return tampered("tenants_damaged", "tenants",
                    block ? "the file goes on behind its block" : block.error().message);
  }
  if (!keys_->is_ours(*block)) {
    return tampered("tenants_mac", "tenants", "the file was not written by this log");
  }
  epoch_max_ = std::max(epoch_max_, block->epoch);
  Result<TenantsFile> tenants = TenantsFile::parse(block->content);
  if (!tenants) return tampered("tenants_content", "tenants", tenants.error().message);
  tenants_ = std::move(*tenants);
  for (auto& entries : tenants_->entries) {
    std::sort(entries.begin(), entries.end(),
              [](const TenantEntry& a, const TenantEntry& b) { return a.key < b.key; });
  }
}

void Verification::read_checkpoints() {
  const Result<std::string> bytes =
      read_file(files_, paths_.log + "/checkpoints", kCheckpointsBytesMax);
  if (!bytes && bytes.error().code != Code::kNotFound) {
    return cannot("io_error", "checkpoints", bytes.error().message);
  }
  const std::string_view file = bytes ? std::string_view(*bytes) : std::string_view();
  report_.bytes += file.size();
  uint64_t end = 0;
  uint64_t offset = 0;
  const std::vector<std::string_view> notes = split_checkpoints(file, &end);
  report_.checkpoints = notes.size();
  judge_rest(end, file.size());
  for (const std::string_view note : notes) {
    read_note(note_hashes_.size(), note, offset);
    offset += 8 + note.size();
  }
}

void Verification::judge_rest(uint64_t end, uint64_t size) {
  const uint64_t promised = head_ ? head_->checkpoints : 0;
  if (report_.checkpoints < promised) {
    const std::string text =
        "expected " + text_of(promised) + " checkpoints, found " + text_of(report_.checkpoints);
    return checkpoint(Verdict::kTampered, end < size ? "checkpoint_damaged" : "checkpoint_missing",
                      end, text);
  }
  if (end < size) {
    checkpoint(Verdict::kQualified, "checkpoint_torn", end,
               "a checkpoint that was not written to its end");
  }
}

// Notes are read until one cannot be believed: what follows builds on it.
void Verification::read_note(size_t which, std::string_view note, uint64_t offset) {
  note_hashes_.push_back(sha256(note));
  note_offsets_.push_back(offset);
  if (!checkpoints_whole_ || !claims_[0].public_key) return;
  const auto bad = [&](const char* code, const std::string& text) {
    checkpoints_whole_ = false;
    checkpoint(Verdict::kTampered, code, offset, "checkpoint " + text_of(which) + ": " + text);
  };
  const Result<Checkpoint> opened =
      open_note(note, {log_origin(keys_->log_id()), *claims_[0].public_key});
  if (!opened) {
    const Code code = opened.error().code;
    return bad(code == Code::kConflict  ? "checkpoint_signature"
               : code == Code::kForeign ? "checkpoint_content"
                                        : "checkpoint_damaged",
               opened.error().message);
  }
  bool ascends = opened->number == which;
  if (!checkpoints_.empty()) {
    const Checkpoint& before = checkpoints_.back();
    ascends = ascends && opened->epoch >= before.epoch;
    for (size_t i = 0; i < kClasses; ++i) {
      ascends = ascends && opened->chains[i].size >= before.chains[i].size;
    }
  }
  if (!ascends) return bad("checkpoint_content", "it does not continue the one before it");
  checkpoint_tree_.append(leaf_hash(opened->leaf()));
  if (checkpoint_tree_.root() != opened->root) {
    return bad("checkpoint_tree", "its root is not that of the checkpoints before it and itself");
  }
  checkpoints_.push_back(*opened);
}

void Verification::read_anchors() {
  for (size_t i = 0; i < options_.anchors.size(); ++i) {
    if (!claims_[0].public_key) break;
    const Result<Checkpoint> opened =
        open_note(options_.anchors[i], {log_origin(keys_->log_id()), *claims_[0].public_key});
    if (!opened) {
      anchor_findings_.push_back(found(Verdict::kTampered, "anchor_signature", "",
                                       "anchor " + text_of(i) + ": " + opened.error().message));
      continue;
    }
    anchors_.emplace_back(i, *opened);
  }
}

// Stubs come before the first sequence kept, segments from there on. What a prune that was broken
// off left on the other side is passed over.
void Verification::divide(size_t chain, ChainClaims* claims) {
  const std::vector<uint64_t>& firsts = firsts_[chain];
  if (manifest_) {
    claims->kept_from = manifest_->kept_from[chain];
  } else if (!firsts.empty() && !stubs_[chain].empty()) {
    claims->kept_from = firsts.front();
  }
  for (const uint64_t first : firsts) {
    if (first >= claims->kept_from) claims->firsts.push_back(first);
  }
  for (const uint64_t first : stubs_[chain]) {
    if (first < claims->kept_from) {
      claims->stubs.push_back(first);
    } else if (!std::binary_search(firsts.begin(), firsts.end(), first)) {
      unexpected_.push_back(found(Verdict::kQualified, "unexpected_file",
                                  "segments/" + stub_name(claims->chain, first),
                                  "the stub of a segment that was not pruned"));
    }
  }
}

void Verification::prepare(size_t chain) {
  ChainClaims& claims = claims_[chain];
  claims.chain = static_cast<Class>(chain);
  claims.segments = paths_.segments;
  claims.checkpoints = paths_.log + "/checkpoints";
  divide(chain, &claims);
  claims.manifest = manifest_ ? &*manifest_ : nullptr;
  claims.head = head_ ? &*head_ : nullptr;
  claims.tenants = tenants_ ? &*tenants_ : nullptr;
  claims.note_hashes = note_hashes_;
  claims.note_offsets = note_offsets_;
  claims.epoch_max = epoch_max_;
  if (head_) claims.promised = head_->chains[chain].next_sequence;
  if (manifest_ && !manifest_->segments[chain].empty()) {
    claims.promised = std::max(claims.promised, manifest_->segments[chain].back().end);
  }
  using Kind = Boundary::Kind;
  for (size_t i = 0; i < checkpoints_.size(); ++i) {
    const ChainHead& head = checkpoints_[i].chains[chain];
    claims.boundaries.push_back({head.size, Kind::kCheckpoint, i, head});
    claims.promised = std::max(claims.promised, head.size);
  }
  for (const auto& [which, anchor] : anchors_) {
    claims.boundaries.push_back(
        {anchor.chains[chain].size, Kind::kAnchor, which, anchor.chains[chain]});
  }
  if (tenants_) {
    claims.boundaries.push_back({tenants_->next_sequence[chain], Kind::kTenants, 0, {}});
    claims.promised = std::max(claims.promised, tenants_->next_sequence[chain]);
  }
  std::stable_sort(claims.boundaries.begin(), claims.boundaries.end(),
                   [](const Boundary& a, const Boundary& b) { return a.size < b.size; });
}

void Verification::check_chain(size_t chain) {
  ChainVerifier verifier(files_, *keys_, claims_[chain]);
  while (verifier.step()) {
  }
  for (const Finding& finding : verifier.findings()) add(finding);
  if (options_.now_ns > 0) {
    if (auto silence = verifier.silent_until(options_.now_ns)) add(std::move(*silence));
  }
  report_.chains[chain] = verifier.counts();
  report_.records += verifier.counts().records;
  report_.bytes += verifier.bytes();
  subjects_.add(verifier.subjects());
  if (static_cast<Class>(chain) == Class::kSecurity) security_damaged_ = verifier.damaged();
}

void Verification::judge_anchors() {
  for (const auto& [which, anchor] : anchors_) {
    const std::string name = "anchor " + text_of(which) + ": ";
    bool behind = false;
    for (size_t i = 0; i < kClasses; ++i) {
      behind |= report_.chains[i].next_sequence < anchor.chains[i].size;
    }
    const bool here = anchor.number < checkpoints_.size();
    if (behind && !here) {
      anchor_findings_.push_back(found(Verdict::kTampered, "rolled_back", "",
                                       name + "the log is older than this checkpoint of it"));
    } else if (!here && checkpoints_whole_) {
      anchor_findings_.push_back(found(Verdict::kTampered, "checkpoint_missing", "checkpoints",
                                       name + "the log does not have this checkpoint of it"));
    } else if (here && checkpoints_[anchor.number].text() != anchor.text()) {
      anchor_findings_.push_back(found(Verdict::kTampered, "anchor_mismatch", "",
                                       name + "the log has another checkpoint of that number"));
    }
  }
  report_.anchors = anchors_.size();
  if (!options_.anchors.empty()) return;
  anchor_findings_.push_back(
      found(Verdict::kQualified, "unanchored", "",
            "without a checkpoint that was kept elsewhere nobody can tell whether "
            "the whole log was replaced by an older copy, or its end cut off"));
}

bool Verification::pruned_meanwhile() {
  const Result<Manifest> now = log::read_manifest(files_, paths_);
  return manifest_ && now && now->kept_from != manifest_->kept_from;
}

bool Verification::written_meanwhile() {
  const Result<HeadSlots> now = log::read_head(files_, paths_);
  return head_ && now && std::ranges::any_of(now->slots, [this](const HeadSlots::Slot& slot) {
           return !slot.empty && !slot.torn && slot.head.generation > head_->generation;
         });
}

Report Verification::busy() {
  report_.findings.clear();
  cannot("busy", "",
         "the log was pruned each of the " + text_of(kTriesMax) +
             " times that it was read; verify it again");
  conclude();
  return report_;
}

void Verification::judge_keys_of_subjects() {
  if (options_.subjects_path.empty()) return;
  const Result<std::string> file = read_file(files_, options_.subjects_path, kStateFileBytesMax);
  if (!file && file.error().code != Code::kNotFound) {
    return cannot("io_error", "keys/subjects", file.error().message);
  }
  const std::string now = file ? *file : std::string();
  const ChainCounts& security = report_.chains[index(Class::kSecurity)];
  for (Finding& finding :
       judge_subjects({subjects_before_, now}, keys_->log_id(), subjects_,
                      {security.first_sequence, security.next_sequence, security_damaged_})) {
    add(std::move(finding));
  }
}

void Verification::look_for_key() {
  if (options_.host_key_path.empty()) return;
  if (!files_.open(options_.host_key_path, OpenMode::kRead)) return;
  add(found(Verdict::kWhole, "key_on_host", "",
            options_.host_key_path + ": is still there; whoever takes over this host can forge "
                                     "all of the log. Move it away"));
}

void Verification::conclude() {
  const auto has = [&](Verdict verdict) { return report_.first(verdict) != nullptr; };
  report_.verdict = has(Verdict::kTampered)       ? Verdict::kTampered
                    : has(Verdict::kCannotVerify) ? Verdict::kCannotVerify
                    : has(Verdict::kQualified)    ? Verdict::kQualified
                                                  : Verdict::kWhole;
}

Report Verification::run() {
  if (!read_key() || !list() || !read_manifest()) {
    conclude();
    return report_;
  }
  read_head();
  // Of a directory that was emptied no key can be told to be wrong.
  if (anything_ && !key_fits()) {
    report_.findings.clear();
    cannot("wrong_key", "", "nothing in " + paths_.log + " was written with this key");
    conclude();
    return report_;
  }
  const std::optional<Ed25519Public> key =
      manifest_ ? std::optional(manifest_->public_key) : genesis_key_;
  for (ChainClaims& claims : claims_) claims.public_key = key;
  read_tenants();
  read_checkpoints();
  read_anchors();
  // What was promised so far is there; the names from before may be of segments that have gone.
  if (!list()) {
    conclude();
    return report_;
  }
  if (!options_.subjects_path.empty()) {
    auto file = read_file(files_, options_.subjects_path, kStateFileBytesMax);
    if (file) subjects_before_ = std::move(*file);
  }
  for (size_t i = 0; i < kClasses; ++i) prepare(i);
  for (Finding& finding : unexpected_) add(std::move(finding));
  for (size_t i = 0; i < kClasses; ++i) check_chain(i);
  judge_keys_of_subjects();
  judge_anchors();
  for (Finding& finding : anchor_findings_) add(std::move(finding));
  look_for_key();
  conclude();
  return report_;
}

}  // namespace

Report verify(Files& files, const VerifyOptions& options) {
  for (int tries = 1;; ++tries) {
    Verification verification(files, options);
    Report report = verification.run();
    const bool torn = report.verdict == Verdict::kQualified &&
                      (report.has("torn_tail") || report.has("head_torn"));
    if (torn && tries < kTornTriesMax && verification.written_meanwhile()) continue;
    const bool whole = report.verdict == Verdict::kWhole || report.verdict == Verdict::kQualified;
    if (whole || !verification.pruned_meanwhile()) return report;
    if (tries == kTriesMax) return verification.busy();
  }
}

}  // namespace tenancy::log
