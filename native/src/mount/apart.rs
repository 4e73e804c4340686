//! Calls of the kernel that may wait until a reader's request has been answered: by us. A process that is killed can't end while it is in one of
//! them, and until it has ended no other answers. So a child makes them: its parent may die, and the next worker answers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::process::{Pid, WaitOptions, waitpid};

/// Has a child make a call, which keeps only `descriptors`, and waits for it.
///
/// # Safety
/// The call must do nothing but make system calls: no memory is allocated in the child and nothing locked, since other threads may have held
/// those locks. It gives the number of an error, or 0.
pub unsafe fn apart(descriptors: &[BorrowedFd<'_>], call: impl FnOnce() -> i32) -> io::Result<()> {
    let mut kept: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    kept.sort_unstable();
    // SAFETY: the child makes system calls alone, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: nothing of this process uses what is closed. The parent's lock of its directory, say, must not stay with the child.
        unsafe {
            close_all_but(&kept);
            libc::_exit(call());
        }
    }
    let child = Some(child).filter(|child| *child > 0).and_then(Pid::from_raw);
    let child = child.ok_or_else(io::Error::last_os_error)?;
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(ended) => {
                return match ended.and_then(|(_, status)| status.exit_status()) {
                    Some(0) => Ok(()),
                    Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                    None => Err(io::Error::other("the child that made the call was killed")),
                };
            }
        }
    }
}

/// # Safety
/// Nobody may use what is closed.
unsafe fn close_all_but(kept: &[RawFd]) {
    let mut from = 0;
    for number in kept.iter().map(|number| number.unsigned_abs()).chain([u32::MAX]) {
        if number > from {
            // SAFETY: as the caller says.
            unsafe { libc::syscall(libc::SYS_close_range, from, number - 1, 0) };
        }
        from = number.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn says_what_came_of_the_call_and_keeps_what_it_needs() {
        let (kept, closed) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let is_open = |file: RawFd| {
            // SAFETY: asks for flags of a descriptor, by number.
            move || if unsafe { libc::fcntl(file, libc::F_GETFD) } < 0 { libc::EBADF } else { 0 }
        };
        // SAFETY: fcntl(2) alone.
        unsafe {
            assert!(apart(&[kept.as_fd()], is_open(kept.as_raw_fd())).is_ok());
            let refused = apart(&[kept.as_fd()], is_open(closed.as_raw_fd())).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EBADF));
        }
    }
}
