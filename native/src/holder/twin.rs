//! The holder is two processes that share their descriptors and their tables: one holds, the other waits for its end and goes on. Neither needs
//! to be told anything.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getppid, pidfd_open, pidfd_send_signal, waitpid,
};

use crate::error::{Context, Result};

/// Which of the two this process is.
pub enum Side {
    /// With the twin.
    Holder(Twin),
    /// The holder has died: this process is it now, and has no twin yet.
    Heir,
}

pub struct Twin {
    pid: Pid,
    process: OwnedFd,
}

/// Makes the twin. Returns in the twin as well: when the holder has died.
pub fn part() -> Result<Side> {
    let doing = || "making the holder's twin".to_owned();
    let before = rustix::process::getpid();
    // SAFETY: with a null stack this is fork(2), but for the descriptors, which stay common. The process has one thread, so that the child may go
    // on as its parent would.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_FILES | libc::SIGCHLD, 0, 0, 0, 0) };
    match child {
        0 => {
            wait_for_end(before);
            Ok(Side::Heir)
        }
        child if child > 0 => {
            let pid = Pid::from_raw(child as i32).unwrap_or(before);
            let process = pidfd_open(pid, PidfdFlags::empty()).context(doing)?;
            Ok(Side::Holder(Twin { pid, process }))
        }
        _ => Err(std::io::Error::last_os_error()).context(doing),
    }
}

/// Returns when the process has ended, which is our parent as long as it lives.
fn wait_for_end(holder: Pid) {
    // The descriptor's number is in the common table: it is closed again as soon as it has served.
    let Ok(process) = pidfd_open(holder, PidfdFlags::empty()) else { return };
    while getppid() == Some(holder) {
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], None);
    }
}

impl Twin {
    /// Becomes readable when the twin has died.
    pub fn process(&self) -> &OwnedFd {
        &self.process
    }

    /// It has died: nothing of it is left when this returns.
    pub fn bury(self) {
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }

    pub fn end(self) {
        let _ = pidfd_send_signal(self.process.as_fd(), Signal::KILL);
        self.bury();
    }
}
