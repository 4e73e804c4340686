//! The process that is started: it keeps a worker running, and does nothing else, so that nothing ends it. What it starts is the program as it lies
//! on the disk, so that after an upgrade the next worker is of the new release.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::error::{Context, Result};

/// The hidden argument with which the launcher starts a worker.
pub const WORKER_ARGUMENT: &str = "work";

/// With which a worker ends that could not begin: nothing is gained by starting it again at once.
const NOT_BEGUN: i32 = 1;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// # Errors
/// Where a worker can't be started at all.
pub fn launch(arguments: &[String], ends_with_parent: bool) -> Result<ExitCode> {
    let program = std::env::current_exe().context(|| "finding this program".into())?;
    if ends_with_parent {
        set_parent_process_death_signal(Some(Signal::TERM))
            .context(|| "asking to end with the parent".into())?;
    }
    let signals = Signals::block();
    let mut pause = Duration::ZERO;
    let mut has_been_up = false;
    loop {
        let mut worker = start(&program, arguments)?;
        let ending = until_it_ends(&mut worker, &signals)?;
        match ending {
            Ending::Told => return Ok(ExitCode::SUCCESS),
            Ending::Upgrade => {
                let error = Command::new(&program).args(arguments).exec();
                say(format_args!("the new program can't be started, this one goes on: {error}"));
            }
            Ending::ByItself(status) => {
                let was_up = status.code() != Some(NOT_BEGUN);
                has_been_up |= was_up;
                if !has_been_up {
                    return Ok(ExitCode::FAILURE);
                }
                say(format_args!("the worker has ended ({status}) and is started again"));
                pause = if was_up {
                    Duration::ZERO
                } else {
                    (pause * 2).clamp(Duration::from_millis(10), LONGEST_PAUSE)
                };
                thread::sleep(pause);
            }
        }
    }
}

/// Whether anybody hears it or not.
fn say(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "drakkar-native: {words}");
}

enum Ending {
    Told,
    Upgrade,
    ByItself(ExitStatus),
}

/// The worker ends in order when the launcher dies, and whoever keeps that starts both again.
fn start(program: &PathBuf, arguments: &[String]) -> Result<Child> {
    let mut command = Command::new(program);
    command.arg(WORKER_ARGUMENT).args(arguments);
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| set_parent_process_death_signal(Some(Signal::TERM)).map_err(io::Error::from));
    }
    command.spawn().context(|| format!("starting {}", program.display()))
}

fn until_it_ends(worker: &mut Child, signals: &Signals) -> Result<Ending> {
    let doing = || "waiting for the worker".to_owned();
    loop {
        if let Some(status) = worker.try_wait().context(doing)? {
            return Ok(Ending::ByItself(status));
        }
        let told = match signals.next() {
            libc::SIGTERM | libc::SIGINT => Ending::Told,
            libc::SIGHUP => Ending::Upgrade,
            _ => continue,
        };
        if let Some(pid) = Pid::from_raw(worker.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        worker.wait().context(doing)?;
        return Ok(told);
    }
}

/// Signals that are waited for instead of being delivered.
pub struct Signals(libc::sigset_t);

impl Signals {
    /// In this thread and in those that it starts from now on.
    pub fn block() -> Self {
        // SAFETY: the set is initialised by sigemptyset before it is used, and outlives the calls.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD] {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            Self(set)
        }
    }

    /// One that comes within this time.
    pub fn next_within(&self, patience: Duration) -> Option<libc::c_int> {
        let timeout = libc::timespec {
            tv_sec: patience.as_secs().cast_signed(),
            tv_nsec: patience.subsec_nanos().into(),
        };
        // SAFETY: both point to what this call owns or borrows; nothing is to be told of the signal but its number.
        let signal =
            unsafe { libc::sigtimedwait(&raw const self.0, std::ptr::null_mut(), &raw const timeout) };
        (signal > 0).then_some(signal)
    }

    pub fn next(&self) -> libc::c_int {
        let mut signal = 0;
        // SAFETY: both point to what this call owns or borrows.
        unsafe { libc::sigwait(&raw const self.0, &raw mut signal) };
        signal
    }
}
