//! A writable layer over a volume.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::mount::MountAttrFlags;

use super::Filesystem;
use crate::error::{Context, Result};

/// What a directory looks like to whoever enters it.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl Look {
    /// Of a layer upon nothing.
    pub const ROOT: Self = Self { uid: 0, gid: 0, mode: 0o755 };

    pub fn of(directory: &Path) -> Result<Self> {
        let root = fs::metadata(directory).context(|| format!("examining {}", directory.display()))?;
        Ok(Self { uid: root.uid(), gid: root.gid(), mode: root.mode() & 0o7777 })
    }
}

/// Makes the upper and work directories. The root of an overlay looks like the root of its upper directory, so that one
/// is to look like the root below.
pub fn make_directories(upper: &Path, work: &Path, Look { uid, gid, mode }: Look) -> Result<()> {
    for (directory, mode) in [(upper, mode), (work, 0o700)] {
        if directory.is_dir() {
            continue;
        }
        // Under its own name only when it is complete: what a crash left half made is made anew.
        let unfinished = directory.with_extension("new");
        let doing = || format!("making {}", directory.display());
        fs::create_dir_all(&unfinished).context(doing)?;
        chown(&unfinished, Some(uid), Some(gid)).context(doing)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(mode)).context(doing)?;
        fs::rename(&unfinished, directory).context(doing)?;
    }
    Ok(())
}

/// A detached mount of `upper` over `lower`.
pub fn mount(lower: &Path, upper: &Path, work: &Path) -> Result<OwnedFd> {
    let filesystem = Filesystem::open("overlay")?;
    filesystem.set("source", "drakkar")?;
    filesystem.set("lowerdir", &lower.to_string_lossy())?;
    filesystem.set("upperdir", &upper.to_string_lossy())?;
    filesystem.set("workdir", &work.to_string_lossy())?;
    filesystem.create(MountAttrFlags::empty())
}
