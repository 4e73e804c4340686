//! A volume seen with shifted owners, for containers in a user namespace: an id-mapped clone of its mount (Linux ≥ 5.19
//! for EROFS). Nothing is copied and nobody's ownership is changed.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::error::{Code, Context, Error, Result};
use crate::wire::IdMap;

/// Source: include/uapi/linux/mount.h
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// The hidden argument with which the helper starts itself as the short-lived first process of a user namespace.
pub const NAMESPACE_HOLDER_ARGUMENT: &str = "hold-user-namespace";

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// A detached, id-mapped clone of the mount at `volume`.
pub fn clone_mapped(volume: &Path, map: IdMap) -> Result<OwnedFd> {
    if map.size == 0
        || map.host_uid.checked_add(map.size).is_none()
        || map.host_gid.checked_add(map.size).is_none()
    {
        return Err(Error::new(Code::InvalidArgument, "the id map is empty or passes the last id"));
    }
    let namespace = user_namespace(map)?;
    let clone = open_tree(CWD, volume, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .context(|| format!("cloning the mount at {}", volume.display()))?;
    let attributes = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(namespace.as_raw_fd().unsigned_abs()),
    };
    // SAFETY: the path is an empty C string, the structure outlives the call and its true size is given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            clone.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    if answer < 0 {
        return Err(std::io::Error::last_os_error()).context(|| "mapping the owners of a volume".into());
    }
    Ok(clone)
}

/// A user namespace lives as long as somebody holds it: a child makes one and waits on its closed-at-our-will stdin
/// while its maps are written and its descriptor is taken.
fn user_namespace(map: IdMap) -> Result<File> {
    let doing = || "making a user namespace".to_owned();
    let mut command = Command::new("/proc/self/exe");
    command.arg(NAMESPACE_HOLDER_ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::null());
    // SAFETY: between fork and exec only unshare(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| match libc::unshare(libc::CLONE_NEWUSER) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let mut holder = command.spawn().context(doing)?;
    let process = format!("/proc/{}", holder.id());
    let taken = fs::write(format!("{process}/uid_map"), format!("0 {} {}\n", map.host_uid, map.size))
        .and_then(|()| fs::write(format!("{process}/gid_map"), format!("0 {} {}\n", map.host_gid, map.size)))
        .and_then(|()| File::open(format!("{process}/ns/user")))
        .context(doing);
    drop(holder.stdin.take());
    holder.wait().context(doing)?;
    taken
}
