//! The kernel's mount interfaces, one idea a file.

pub mod apart;
pub mod erofs;
pub mod fuse;
pub mod idmap;
pub mod loopdev;
pub mod overlay;
pub mod table;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::error::{Code, Context, Error, Result};

/// `fsconfig` takes strings up to this length. Source: `strndup_user(_value, 256)` in fs/fsopen.c, with the final zero.
const MAX_OPTION_LENGTH: usize = 255;

/// A file system that is being configured (`fsopen`). Unlike `mount(2)`, whose options end at one page, it takes any number of them.
pub struct Filesystem {
    fd: OwnedFd,
    kind: &'static str,
}

impl Filesystem {
    pub fn open(kind: &'static str) -> Result<Self> {
        let fd =
            fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).context(|| format!("this kernel has no {kind}"))?;
        Ok(Self { fd, kind })
    }

    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        if value.len() > MAX_OPTION_LENGTH {
            return Err(Error::new(
                Code::LimitExceeded,
                format!("the {} option {key} has {} bytes; the kernel takes 255", self.kind, value.len()),
            )
            .hint("use a shorter root directory for the helper"));
        }
        fsconfig_set_string(self.fd.as_fd(), key, value)
            .context(|| self.failed(&format!("refused {key}={value}")))
    }

    pub fn set_flag(&self, key: &str) -> Result<()> {
        fsconfig_set_flag(self.fd.as_fd(), key).context(|| self.failed(&format!("refused {key}")))
    }

    /// The mount, attached to nothing yet: it goes away with its descriptor.
    pub fn create(self, attributes: MountAttrFlags) -> Result<OwnedFd> {
        fsconfig_create(self.fd.as_fd()).context(|| self.failed("can't be mounted"))?;
        fsmount(self.fd.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .context(|| self.failed("can't be mounted"))
    }

    fn failed(&self, what: &str) -> String {
        let log = self.kernel_log();
        let colon = if log.is_empty() { "" } else { ": " };
        format!("{} {what}{colon}{log}", self.kind)
    }

    /// The kernel's own words about this context, one message a read.
    fn kernel_log(&self) -> String {
        let mut words = Vec::new();
        let mut buffer = [0u8; 1024];
        while words.len() < 8 {
            match rustix::io::read(self.fd.as_fd(), &mut buffer) {
                Ok(length) if length > 0 => {
                    words.push(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
                }
                _ => break,
            }
        }
        words.join("; ")
    }
}

/// Attaches a mount in one step: it is there whole, or not at all.
pub fn attach(mount: BorrowedFd<'_>, target: &Path) -> Result<()> {
    move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .context(|| format!("attaching a mount at {}", target.display()))
}

/// Unmounts what nobody uses.
///
/// # Errors
/// [`Code::Busy`] while files or directories in it are in use.
pub fn detach(target: &Path) -> Result<()> {
    unmount(target, libc::UMOUNT_NOFOLLOW).map_err(|cause| match cause.raw_os_error() {
        Some(libc::EBUSY) => Error::new(Code::Busy, format!("{} is in use", target.display()))
            .hint("end the processes that use it, then try again; `fuser -vm PATH` names them"),
        _ => Error::new(Code::Internal, format!("unmounting {}: {cause}", target.display())),
    })
}

/// Takes a mount from its place whoever uses it. Those who do keep it.
pub fn detach_at_once(target: &Path) -> Result<()> {
    unmount(target, libc::UMOUNT_NOFOLLOW | libc::MNT_DETACH)
        .context(|| format!("detaching {}", target.display()))
}

/// The kernel waits for reads ahead that are under way.
fn unmount(target: &Path, flags: libc::c_int) -> io::Result<()> {
    let path = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: one system call, and the number of its error.
    unsafe {
        apart::apart(&[], || match libc::umount2(path.as_ptr(), flags) {
            0 => 0,
            _ => *libc::__errno_location(),
        })
    }
}
