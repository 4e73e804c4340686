//! The descriptor of `/dev/fuse`, and the requests that came through it. Whoever has a copy keeps the file system alive; when the last one is
//! closed, the kernel gives errors to whoever reads.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use super::abi::LEAST_BUFFER_BYTES;
use super::pending::{Pending, Ticket};
use super::reply;
use super::request::SEEN_BYTES;
use crate::error::{Context, Result};

/// Takes what of a request nobody looks at.
pub type Rest = [u8; LEAST_BUFFER_BYTES];

pub struct Connection {
    device: File,
    pending_file: File,
    pub pending: Pending,
}

/// What came of asking the kernel for a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    Request,
    Nothing,
    /// It was unmounted, or never mounted.
    Ended,
}

impl Connection {
    /// A new one, of no file system yet.
    pub fn open() -> Result<Self> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/fuse")
            .context(|| "opening /dev/fuse (is the fuse module there?)".into())?;
        let (pending_file, pending) = Pending::create()?;
        Ok(Self { device, pending_file, pending })
    }

    /// One that another process has kept.
    pub fn of(device: OwnedFd, pending: OwnedFd) -> Result<Self> {
        let pending_file = File::from(pending);
        let pending = Pending::of(&pending_file)?;
        Ok(Self { device: device.into(), pending_file, pending })
    }

    /// Leaves the descriptors open.
    pub fn forget(self) {
        let _ = (self.device.into_raw_fd(), self.pending_file.into_raw_fd());
    }

    pub fn device(&self) -> &File {
        &self.device
    }

    /// What another process needs to go on with it.
    pub fn files(&self) -> [BorrowedFd<'_>; 2] {
        [self.device.as_fd(), self.pending_file.as_fd()]
    }

    pub fn descriptors(&self) -> [RawFd; 2] {
        [self.device.as_raw_fd(), self.pending_file.as_raw_fd()]
    }

    /// Has the kernel write the next request into the slot. Does not wait.
    pub fn receive(&self, ticket: Ticket, rest: &mut Rest) -> io::Result<Received> {
        let parts = [
            libc::iovec { iov_base: self.pending.buffer(ticket).as_ptr().cast(), iov_len: SEEN_BYTES },
            libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() },
        ];
        // SAFETY: both parts have their length; the slot is the ticket's, so that nobody else writes there.
        let count =
            unsafe { libc::readv(self.device.as_raw_fd(), parts.as_ptr(), parts.len() as libc::c_int) };
        if count >= 0 {
            return Ok(Received::Request);
        }
        let cause = io::Error::last_os_error();
        match cause.raw_os_error() {
            // ENOENT: whoever asked has gone meanwhile. Source: `fuse_dev_do_read` in fs/fuse/dev.c.
            Some(libc::EAGAIN | libc::EINTR | libc::ENOENT) => Ok(Received::Nothing),
            Some(libc::ENODEV | libc::EPERM | libc::ECONNABORTED) => Ok(Received::Ended),
            _ => Err(cause),
        }
    }

    /// Answers with bytes, or with an error's number. Nobody needs to wait for it any more: then it says nothing.
    pub fn answer(&self, unique: u64, outcome: std::result::Result<&[u8], i32>) -> io::Result<()> {
        let (errno, body) = outcome.map_or_else(|errno| (errno, &[][..]), |body| (0, body));
        let header = reply::header(unique, errno, body.len());
        match rustix::io::writev(self.device.as_fd(), &[IoSlice::new(&header), IoSlice::new(body)]) {
            Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NODEV) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
