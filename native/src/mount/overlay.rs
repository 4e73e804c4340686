//! A writable layer over a volume.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::mount::MountAttrFlags;

use super::Filesystem;
use crate::error::{Context, Result};
use crate::wire::IdMap;

/// Of a layer upon nothing.
const ROOT_MODE: u32 = 0o755;

/// Makes the upper and work directories. The root of an overlay looks like the root of its upper directory, so that one
/// takes over the owner and mode of the root below.
pub fn make_directories(
    upper: &Path,
    work: &Path,
    lower: Option<&Path>,
    id_map: Option<IdMap>,
) -> Result<()> {
    let (uid, gid, mode) = match lower {
        Some(lower) => {
            let root = fs::metadata(lower).context(|| format!("examining {}", lower.display()))?;
            (root.uid(), root.gid(), root.mode() & 0o7777)
        }
        None => (0, 0, ROOT_MODE),
    };
    let (uid, gid) =
        id_map.map_or((uid, gid), |map| (uid.saturating_add(map.host_uid), gid.saturating_add(map.host_gid)));
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
