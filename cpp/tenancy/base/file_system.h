// Which file systems a shared mapping may live on. Internal to base.
//
// Thread safety: free functions without state.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace tenancy {

// Whether statfs's f_type names a file system whose files other hosts can write. FUSE is not among
// them: one magic number covers local and remote ones alike, see below.
bool is_network_filesystem(int64_t f_type);

// Whether a FUSE mount's type ("fuse.sshfs", as the mount table says) reaches over a network.
// Unknown subtypes count as local: fuse-overlayfs of rootless containers has to work.
bool is_network_fuse_type(std::string_view mount_type);

// The mount type of a device in the text of /proc/self/mountinfo (proc(5)), or empty.
std::string mount_type_of_device(std::string_view mountinfo, unsigned device_major,
                                 unsigned device_minor);

// The name to show a person when the open file's file system is a network one, else empty.
std::string network_filesystem_of(int fd);
// The same for the directory a file is about to be made in.
std::string network_filesystem_of_path(const std::string& directory);

}  // namespace tenancy
