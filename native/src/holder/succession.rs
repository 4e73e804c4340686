//! The holder is several processes that share their descriptors and their tables: one holds, the others are its heirs. When the holder dies, one of
//! them goes on where it was, at once and without being told anything; the kernel chooses which, through a robust futex.
//! Source: Documentation/locking/robust-futexes.rst, and `exit_robust_list` in kernel/futex/core.c.

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::process::{WaitOptions, getpid, wait};

use crate::error::{Context, Result};
use crate::memory::{Access, Mapping};

/// So many die before the line ends, however close together: it is renewed within milliseconds.
pub const HEIRS: usize = 3;

/// In the shared memory: who holds, the node of the list of robust futexes that names that word, and the last holder that has heirs of its own.
const HOLDER_AT: usize = 0;
const NODE_AT: usize = 8;
const PROVIDED_AT: usize = 16;
const GENERATION_AT: usize = 20;
const LENGTH: u64 = 4096;

/// In the place of the last holder that has heirs: nobody comes after it.
const ENDED: u32 = u32::MAX;

const WAITERS: u32 = libc::FUTEX_WAITERS;
const OWNER_DIED: u32 = libc::FUTEX_OWNER_DIED;
const TID_MASK: u32 = libc::FUTEX_TID_MASK;

/// How often an heir looks whether it is needed still.
const LOOK_NS: libc::c_long = 50_000_000;

/// `struct robust_list_head` of include/uapi/linux/futex.h.
#[repr(C)]
struct RobustListHead {
    next: *mut libc::c_void,
    futex_offset: libc::c_long,
    pending: *mut libc::c_void,
}

pub struct Succession {
    memory: Mapping,
    /// At the same address in all processes of the line, since each is a copy of the first.
    list: &'static mut RobustListHead,
    /// Readable when an heir has died.
    deaths: OwnedFd,
    generation: u32,
}

/// What this process is after the line was renewed.
pub enum Part {
    Holder,
    /// The holder has died, and this process is it from now on.
    Heir,
}

impl Succession {
    /// Makes this process the first of its line.
    pub fn found() -> Result<Self> {
        let doing = || "founding the line of holders".to_owned();
        let file = memfd_create("drakkar-holders", MemfdFlags::CLOEXEC).context(doing)?;
        ftruncate(&file, LENGTH).context(doing)?;
        let memory = Mapping::of(&File::from(file), Access::Write)?;
        let list = Box::leak(Box::new(RobustListHead {
            next: memory.part(NODE_AT, size_of::<usize>()).as_ptr().cast(),
            futex_offset: HOLDER_AT as libc::c_long - NODE_AT as libc::c_long,
            pending: std::ptr::null_mut(),
        }));
        memory.u64(NODE_AT).store(std::ptr::from_mut(list) as u64, Release);
        let deaths = super::own(&deaths().context(doing)?)?;
        let succession = Self { memory, list, deaths, generation: 0 };
        succession.promise()?;
        succession.memory.u32(HOLDER_AT).store(me() | WAITERS, Release);
        Ok(succession)
    }

    pub fn deaths(&self) -> &OwnedFd {
        &self.deaths
    }

    /// Buries heirs that have died, and makes others in their place. Returns as well in an heir, when the holder has died.
    ///
    /// # Errors
    /// Where no process can be made: what there is goes on.
    pub fn renew(&mut self, heirs: &mut usize) -> Result<Part> {
        while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {
            *heirs = heirs.saturating_sub(1);
        }
        while *heirs < HEIRS {
            // SAFETY: with a null stack this is fork(2), but for the descriptors, which stay common. The process has one thread, so that the
            // child may go on as its parent would.
            let child =
                unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_FILES | libc::SIGCHLD, 0, 0, 0, 0) };
            match child {
                0 => {
                    // Without it this one would not be told of the holder's end; others are.
                    if self.promise().is_err() {
                        std::process::exit(1);
                    }
                    self.wait_for_end();
                    *heirs = 0;
                    return Ok(Part::Heir);
                }
                child if child > 0 => *heirs += 1,
                _ => return Err(std::io::Error::last_os_error()).context(|| "making an heir".into()),
            }
        }
        self.memory.u32(PROVIDED_AT).store(self.generation, Release);
        Ok(Part::Holder)
    }

    /// Nobody shall come after this holder.
    pub fn end(&self) {
        self.memory.u32(PROVIDED_AT).store(ENDED, Release);
        let word = self.memory.u32(HOLDER_AT).as_ptr();
        // SAFETY: the word lies in memory that stays mapped.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX, 0, 0, 0) };
    }

    /// Has the kernel tell the heirs of this process's end.
    fn promise(&self) -> Result<()> {
        // SAFETY: the list is never freed, and its one node lies in memory that stays mapped.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_set_robust_list,
                std::ptr::from_ref(&*self.list),
                size_of::<RobustListHead>(),
            )
        };
        if answer < 0 {
            Err(std::io::Error::last_os_error()).context(|| "registering a robust futex".into())
        } else {
            Ok(())
        }
    }

    /// Returns in the one heir that comes after the holder. Those who are not needed any more, since the next has heirs of its own, end.
    fn wait_for_end(&mut self) {
        let word = self.memory.u32(HOLDER_AT);
        loop {
            let provided = self.memory.u32(PROVIDED_AT).load(Acquire);
            let seen = word.load(Acquire);
            // The kernel wakes one: whoever that is must not leave it to another.
            let is_free = (seen & OWNER_DIED != 0 || seen & TID_MASK == 0) && provided != ENDED;
            if is_free && word.compare_exchange(seen, me() | WAITERS, AcqRel, Acquire).is_ok() {
                self.generation = self.memory.u32(GENERATION_AT).fetch_add(1, AcqRel) + 1;
                return;
            }
            if is_free {
                continue;
            }
            if provided > self.generation {
                std::process::exit(0);
            }
            let until = libc::timespec { tv_sec: 0, tv_nsec: LOOK_NS };
            // SAFETY: the word lies in memory that stays mapped, and the time outlives the call.
            unsafe {
                libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, &raw const until, 0, 0)
            };
        }
    }
}

fn me() -> u32 {
    getpid().as_raw_nonzero().get().cast_unsigned() & TID_MASK
}

/// SIGCHLD as something to be waited for, in this process and in those that it makes.
fn deaths() -> std::io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before it is used, and outlives the calls; the descriptor is new.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(std::io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}
