//! The daemon's directory of raw snapshot files. It belongs to an ordinary user, so nothing in it is trusted: files are
//! opened once, beneath the directory, without following any link, and used by descriptor from then on.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, open, openat2};

use crate::error::{Code, Context, Error, Result};
use crate::ids::ContentId;

/// EROFS addresses its devices in blocks of this size.
const BLOCK_BYTES: i64 = 4096;

pub struct ContentDir {
    path: PathBuf,
}

/// A raw file that is open for reading.
pub struct ContentFile {
    pub file: File,
    pub id: ContentId,
}

impl ContentFile {
    /// A name of the open file for kernel interfaces that take only paths.
    pub fn fd_path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }
}

impl ContentDir {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn open(&self, id: &ContentId) -> Result<ContentFile> {
        let directory: OwnedFd =
            open(&self.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .context(|| format!("opening the content directory {}", self.path.display()))?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = openat2(directory.as_fd(), id.as_str(), flags, Mode::empty(), resolve)
            .context(|| format!("opening the snapshot file {id}"))?;
        let stat = fstat(&fd).context(|| format!("examining the snapshot file {id}"))?;
        let regular = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
        if !regular || stat.st_size == 0 || stat.st_size % BLOCK_BYTES != 0 {
            return Err(Error::new(
                Code::InvalidContent,
                format!(
                    "the snapshot file {id} is not a regular file of whole blocks of {BLOCK_BYTES} bytes"
                ),
            ));
        }
        Ok(ContentFile { file: File::from(fd), id: id.clone() })
    }

    /// Whether a path that the kernel reports as a loop device's backing file is one of ours.
    pub fn owns(&self, backing: &Path) -> bool {
        let canonical = rustix::fs::openat(CWD, &self.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .ok()
            .and_then(|fd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok())
            .unwrap_or_else(|| self.path.clone());
        backing.parent() == Some(canonical.as_path())
    }
}
