//! The daemon's directory of raw snapshot files. It belongs to an ordinary user, so nothing in it is trusted: files are
//! opened once, beneath the directory, without following any link, and used by descriptor from then on.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, open, openat2};

use crate::error::{Code, Context, Error, Result};
use crate::ids::ContentId;

/// EROFS addresses its devices in blocks of this size.
pub const BLOCK_BYTES: u64 = 4096;

#[derive(Clone)]
pub struct ContentDir {
    path: PathBuf,
}

/// A raw file that is open for reading.
pub struct ContentFile {
    pub file: File,
    pub id: ContentId,
    /// It is a file that we serve, not the daemon's own.
    pub is_served: bool,
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

    /// A raw file that is whole, or is being filled.
    pub fn open(&self, id: &ContentId) -> Result<ContentFile> {
        let file = self.open_raw(id, OFlags::RDONLY)?;
        Ok(ContentFile { file, id: id.clone(), is_served: false })
    }

    pub fn has(&self, id: &ContentId) -> bool {
        std::fs::symlink_metadata(self.path.join(id.as_str())).is_ok()
    }

    /// A raw file that is to be filled.
    pub fn open_to_fill(&self, id: &ContentId) -> Result<File> {
        self.open_raw(id, OFlags::RDWR)
    }

    /// A blob as it travels, in a directory of blobs; whole or in part.
    pub fn open_blob(&self, id: &ContentId) -> Result<File> {
        let name = format!("{}/{id}", &id.as_str()[..2]);
        let (file, _) = self.open_regular(&name, OFlags::RDONLY)?;
        Ok(file)
    }

    fn open_raw(&self, id: &ContentId, access: OFlags) -> Result<File> {
        let (file, size_bytes) = self.open_regular(id.as_str(), access)?;
        if size_bytes == 0 || !size_bytes.is_multiple_of(BLOCK_BYTES) {
            let message = format!("the snapshot file {id} is not of whole blocks of {BLOCK_BYTES} bytes");
            return Err(Error::new(Code::InvalidContent, message));
        }
        Ok(file)
    }

    fn open_regular(&self, name: &str, access: OFlags) -> Result<(File, u64)> {
        let directory: OwnedFd =
            open(&self.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .context(|| format!("opening the directory {}", self.path.display()))?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = openat2(directory.as_fd(), name, flags, Mode::empty(), resolve)
            .context(|| format!("opening the file {name}"))?;
        let stat = fstat(&fd).context(|| format!("examining the file {name}"))?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(Error::new(Code::InvalidContent, format!("{name} is not a regular file")));
        }
        Ok((File::from(fd), stat.st_size as u64))
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
