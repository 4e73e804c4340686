//! Mounting a snapshot: one EROFS image with metadata, and the devices that hold the files' contents.

use std::os::fd::OwnedFd;

use rustix::mount::MountAttrFlags;

use super::{Filesystem, loopdev};
use crate::content::ContentFile;
use crate::error::{Code, Result};
use crate::wire::Backing;

/// The mount is a source for overlays; what a container may do with setuid bits and device nodes is decided by the
/// flags of the overlay's own mount.
const ATTRIBUTES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID);

/// A detached mount of files, where the kernel mounts these, else of loop devices over them; and which of both it is.
pub fn mount_files_or_loops(meta: &ContentFile, devices: &[ContentFile]) -> Result<(OwnedFd, Backing)> {
    match mount_files(meta, devices) {
        Err(error) if error.code == Code::Unsupported => Ok((mount_loops(meta, devices)?, Backing::Loop)),
        mounted => Ok((mounted?, Backing::File)),
    }
}

/// A detached mount of files.
pub fn mount_files(meta: &ContentFile, devices: &[ContentFile]) -> Result<OwnedFd> {
    mount_sources(&meta.fd_path(), devices.iter().map(ContentFile::fd_path))
}

/// The same of loop devices over them.
pub fn mount_loops(meta: &ContentFile, devices: &[ContentFile]) -> Result<OwnedFd> {
    let attach = |content| loopdev::attach(content, loopdev::Lifetime::UntilUnused);
    let meta = attach(meta)?;
    let devices = devices.iter().map(attach).collect::<Result<Vec<_>>>()?;
    mount_sources(
        &meta.path.to_string_lossy(),
        devices.iter().map(|device| device.path.to_string_lossy().into_owned()),
    )
}

fn mount_sources(meta: &str, devices: impl Iterator<Item = String>) -> Result<OwnedFd> {
    let filesystem = Filesystem::open("erofs")?;
    filesystem.set("source", meta)?;
    for device in devices {
        filesystem.set("device", &device)?;
    }
    filesystem.set_flag("ro")?;
    filesystem.create(ATTRIBUTES)
}
