//! Mounting the file system whose requests come through a descriptor of `/dev/fuse`.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::mount::MountAttrFlags;

use super::Filesystem;
use crate::error::Result;

const ATTRIBUTES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A detached mount, which nobody but root may look into. Source: `fuse_fs_parameters` in fs/fuse/inode.c.
pub fn mount(device: &File) -> Result<OwnedFd> {
    let filesystem = Filesystem::open("fuse")?;
    filesystem.set("source", "drakkar")?;
    filesystem.set("subtype", "drakkar")?;
    filesystem.set("fd", &device.as_raw_fd().to_string())?;
    filesystem.set("rootmode", "40000")?;
    filesystem.set("user_id", "0")?;
    filesystem.set("group_id", "0")?;
    filesystem.set_flag("ro")?;
    filesystem.create(ATTRIBUTES)
}
