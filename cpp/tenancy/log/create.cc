#include "tenancy/log/create.h"

#include "tenancy/log/checkpoint.h"

namespace tenancy::log {
namespace {

Status create(Files& files, const Paths& paths, int64_t now_ns) {
  LogId log_id;
  random_bytes(log_id);
  Digest256 secret;
  random_bytes(secret);
  const EpochKey key(log_id, 0, secret);
  cleanse(secret);
  Ed25519Seed seed;
  random_bytes(seed);
  const FileKey file_key{0, key.file_key()};
  Manifest manifest;
  manifest.log_id = log_id;
  manifest.made_ns = now_ns;
  manifest.public_key = ed25519_public(seed);
  manifest.key_check = key.check();

  Status status = write_key(files, paths.keys, "log.key", key, KeyState::kProvisional);
  if (status) status = write_key(files, paths.keys, "log.verify", key, KeyState::kVerification);
  if (status) status = write_seed(files, paths.keys, log_id, file_key, seed);
  cleanse(seed);
  if (status) {
    status = replace_file(files, paths.keys, "log.pub",
                          verifier_key(log_origin(log_id), manifest.public_key) + "\n");
  }
  if (status) status = replace_file(files, paths.log, "manifest", manifest.block(file_key));
  if (status) status = HeadFile(files, paths).create(log_id, file_key, Head{});
  if (status) status = write_key(files, paths.keys, "log.key", key, KeyState::kInForce);
  return status;
}

Result<bool> has_segments(Files& files, const Paths& paths) {
  const Result<std::vector<std::string>> names = files.list(paths.segments);
  if (!names) return names.status();
  for (const std::string& name : *names) {
    if (parse_segment_name(name)) return true;
  }
  return false;
}

}  // namespace

Result<StoredKey> open_or_create(Files& files, const Paths& paths, int64_t now_ns) {
  const std::string key_path = paths.keys + "/log.key";
  Result<StoredKey> key = read_key(files, key_path);
  if (key && key->state == KeyState::kInForce) {
    const Result<Manifest> manifest = read_manifest(files, paths);
    if (!manifest && manifest.error().code == Code::kNotFound) {
      return Error{Code::kDamaged, paths.log +
                                       ": keys/log.key is in force, but there is no log: "
                                       "it was removed. Restore it, or move keys/log.* "
                                       "away to begin another one"};
    }
    if (!manifest) return manifest.status();
    return key;
  }
  if (!key && key.error().code != Code::kNotFound) return key;
  const Result<bool> segments = has_segments(files, paths);
  if (!segments) return segments.status();
  if (*segments) {
    return Error{Code::kDamaged, key_path + ": is missing, but there is a log in " + paths.log +
                                     "; restore the key, or move the log away"};
  }
  if (Status status = create(files, paths, now_ns); !status) return status;
  return read_key(files, key_path);
}

}  // namespace tenancy::log
