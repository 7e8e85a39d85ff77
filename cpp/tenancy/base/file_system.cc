#include "tenancy/base/file_system.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <utility>

namespace tenancy {
namespace {

// From the kernel's magic.h where it has them, else from the module's own source; kept here because
// installed headers often lack the newer ones.
constexpr std::array<std::pair<uint32_t, std::string_view>, 20> kNetworkMagic = {{
    {0x00006969, "NFS"},          {0x0000517B, "SMB"},      {0xFE534D42, "SMB2"},
    {0xFF534D42, "CIFS"},         {0x00C36400, "CephFS"},   {0x01021997, "9p"},
    {0x5346414F, "AFS"},          {0x6B414653, "AFS"},      {0x73757245, "Coda"},
    {0x0000564C, "NCP"},          {0x0BD00BD0, "Lustre"},   {0x47504653, "GPFS"},
    {0x01161970, "GFS2"},         {0x7461636F, "OCFS2"},    {0x19830326, "BeeGFS"},
    {0xAAD7AAEA, "PanFS"},        {0x20030528, "OrangeFS"}, {0x786F4256, "VirtualBox share"},
    {0xBACBACBC, "VMware share"}, {0x013111A8, "IBRIX"},
}};
constexpr uint32_t kFuseMagic = 0x65735546;

constexpr std::array<std::string_view, 21> kNetworkFuse = {
    "sshfs",     "glusterfs", "s3fs",   "gcsfuse",   "goofys",       "rclone",   "ceph",
    "ceph-fuse", "davfs",     "davfs2", "curlftpfs", "smbnetfs",     "blobfuse", "blobfuse2",
    "juicefs",   "JuiceFS",   "mfs",    "seaweedfs", "alluxio-fuse", "mount-s3", "cvmfs2"};

std::string_view network_name(uint32_t magic) {
  const auto* found = std::find_if(kNetworkMagic.begin(), kNetworkMagic.end(),
                                   [&](const auto& entry) { return entry.first == magic; });
  return found == kNetworkMagic.end() ? std::string_view() : found->second;
}

std::string describe(const struct statfs& info, const struct stat& file) {
  const auto magic = static_cast<uint32_t>(info.f_type);
  if (magic != kFuseMagic) return std::string(network_name(magic));
  std::ostringstream mounts;
  mounts << std::ifstream("/proc/self/mountinfo").rdbuf();
  std::string type = mount_type_of_device(mounts.view(), major(file.st_dev), minor(file.st_dev));
  return is_network_fuse_type(type) ? type : std::string();
}

}  // namespace

bool is_network_filesystem(int64_t f_type) {
  // f_type is signed on some architectures, so that SMB2's sign bit spreads: the low 32 bits
  // decide.
  return !network_name(static_cast<uint32_t>(f_type)).empty();
}

bool is_network_fuse_type(std::string_view mount_type) {
  const size_t dot = mount_type.find('.');
  if (dot == std::string_view::npos) return false;
  return std::find(kNetworkFuse.begin(), kNetworkFuse.end(), mount_type.substr(dot + 1)) !=
         kNetworkFuse.end();
}

std::string mount_type_of_device(std::string_view mountinfo, unsigned device_major,
                                 unsigned device_minor) {
  // "36 35 98:0 /root /mount options... - type source options"
  const std::string device = std::to_string(device_major) + ":" + std::to_string(device_minor);
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string word;
    fields >> word >> word >> word;
    if (word != device) continue;
    while (fields >> word && word != "-") {
    }
    if (fields >> word) return word;
  }
  return {};
}

std::string network_filesystem_of(int fd) {
  struct statfs info {};
  struct stat file {};
  if (fstatfs(fd, &info) != 0 || fstat(fd, &file) != 0) return {};
  return describe(info, file);
}

std::string network_filesystem_of_path(const std::string& directory) {
  struct statfs info {};
  struct stat file {};
  if (statfs(directory.c_str(), &info) != 0 || stat(directory.c_str(), &file) != 0) return {};
  return describe(info, file);
}

}  // namespace tenancy
