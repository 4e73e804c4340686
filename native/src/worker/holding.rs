//! The worker's end of the holder: it starts one where there is none, asks it to hold devices, and keeps a copy of all that it holds. When the
//! holder has died with all its heirs, that copy goes to a new one, before the kernel lets anybody through.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::device::spec::DeviceSpec;
use crate::error::{Code, Context, Error, Result};
use crate::fuse::connection::Connection;
use crate::holder::group::Group;
use crate::holder::link::{self, Link, ToHolder, ToWorker};
use crate::journal::Journal;
use crate::touches::Touches;

const SOCKET_NAME: &str = "holder.sock";
const LOG_NAME: &str = "holder.log";
/// The hidden argument with which the helper starts itself as a holder.
pub const HOLDER_ARGUMENT: &str = "hold";
pub const ADOPT_ARGUMENT: &str = "--adopt";

const OWN_CGROUP: &str = "drakkar-holders";
const CGROUP_PROCESSES: &str = "cgroup.procs";
const CPUSET_FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];
/// Whoever writes it there is put there.
const MYSELF: &[u8] = b"0";

const START_DEADLINE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);
/// A holder that lives answers at once.
const ANSWER_DEADLINE: Duration = Duration::from_millis(500);
/// How often a question is asked whose answer does not come.
const QUESTIONS: usize = 10;

/// What a holder holds of a device.
pub struct HeldFiles {
    pub index: u32,
    pub spec: DeviceSpec,
    /// Opened before it was marked: what is read and written through it asks nobody.
    pub raw: File,
    pub map: File,
}

/// What an earlier worker has left with the holder.
pub struct Left {
    pub devices: Vec<HeldFiles>,
    pub connection: Option<Connection>,
}

/// How a holder is started, and what it is told.
#[derive(Clone)]
pub struct HolderOptions {
    pub root: PathBuf,
    pub deadline_ms: u64,
    /// Where cgroups are mounted, where holders are to leave that of this process.
    pub cgroups: Option<PathBuf>,
}

pub struct Holding {
    options: HolderOptions,
    link: Mutex<Link>,
    pub group: Group,
    pub journal: Journal,
    journal_file: File,
    pub touches: Touches,
    touches_file: File,
    wake_holder: OwnedFd,
    /// Readable when events wait.
    pub wake_worker: OwnedFd,
}

impl Holding {
    /// Whether there is a holder that an earlier worker has left.
    pub fn is_there(root: &Path) -> Result<bool> {
        Link::connect(&root.join(SOCKET_NAME)).map(|link| link.is_some())
    }

    /// A holder, which is started where there is none, and what it holds already.
    ///
    /// # Errors
    /// [`Code::Unsupported`] where the kernel has no such groups.
    pub fn find(options: &HolderOptions) -> Result<(Self, Left)> {
        let mut last = None;
        for _ in 0..QUESTIONS {
            let link = match Link::connect(&options.root.join(SOCKET_NAME))? {
                Some(link) => link,
                None => start(options, false)?,
            };
            match Self::introduce(options, link) {
                // A holder that dies over it has an heir, who knows nothing of this worker yet.
                Err(error) if error.code == Code::Busy => last = Some(error),
                found => return found,
            }
        }
        Err(last.unwrap_or_else(unexpected))
    }

    fn introduce(options: &HolderOptions, link: Link) -> Result<(Self, Left)> {
        let hello = ToHolder::Hello { version: link::VERSION, deadline_ms: options.deadline_ms };
        let (welcome, descriptors) = must_ask(&link, &hello, &[])?;
        let ToWorker::Welcome { version: link::VERSION, .. } = welcome else {
            return Err(Error::new(Code::Unsupported, "the holder is of another version")
                .hint("unmount all volumes and end it, then start this helper again"));
        };
        let [group, journal, touches, wake_holder, wake_worker] = link::exactly(descriptors)?;
        let (journal_file, touches_file) = (File::from(journal), File::from(touches));
        let left = Left { devices: list(&link)?, connection: find_connection(&link)? };
        let holding = Self {
            options: options.clone(),
            link: Mutex::new(link),
            group: Group::of(group),
            journal: Journal::of(&journal_file)?,
            journal_file,
            touches: Touches::of(&touches_file)?,
            touches_file,
            wake_holder,
            wake_worker,
        };
        Ok((holding, left))
    }

    /// From now on the holder knows the device, so that it may be marked. Gives its number.
    pub fn hold(&self, spec: &DeviceSpec, raw: &File, map: &File) -> Result<u32> {
        let message = ToHolder::Hold { spec: spec.clone(), index: None };
        match self.ask(&message, &[raw.as_fd(), map.as_fd()])? {
            (ToWorker::Held { index, .. }, _) => Ok(index),
            _ => Err(unexpected()),
        }
    }

    /// The device's mark must have gone before.
    pub fn release(&self, index: u32) -> Result<()> {
        self.ask(&ToHolder::Release { index }, &[]).map(drop)
    }

    /// From now on the connection outlives this process.
    pub fn keep_connection(&self, connection: &Connection) -> Result<()> {
        self.ask(&ToHolder::KeepConnection, &connection.files()).map(drop)
    }

    /// The file system is mounted no more.
    pub fn drop_connection(&self) -> Result<()> {
        self.ask(&ToHolder::DropConnection, &[]).map(drop)
    }

    /// Has the holder look at what was decided.
    pub fn wake(&self) {
        let _ = rustix::io::write(&self.wake_holder, &1u64.to_ne_bytes());
    }

    /// The worker ends. Returns when a holder that holds nothing has ended as well.
    pub fn goodbye(&self) {
        let link = self.link();
        let _ = link.send(&ToHolder::Goodbye, &[]);
        let _ = link.receive_within::<ToWorker>(ANSWER_DEADLINE);
    }

    /// Speaks to the holder anew, where there is one: it may only have left this worker. `false` where there is none.
    ///
    /// # Errors
    /// Where one listens and does not answer. It must not be replaced: two that read the same events would answer each other's.
    pub fn reconnect(&self) -> Result<bool> {
        let mut link = self.link();
        if !is_over(&link) {
            return Ok(true);
        }
        let hello = ToHolder::Hello { version: link::VERSION, deadline_ms: self.options.deadline_ms };
        let Some(new) = Link::connect(&self.options.root.join(SOCKET_NAME))? else { return Ok(false) };
        must_ask(&new, &hello, &[])?;
        *link = new;
        Ok(true)
    }

    /// Waits until the holder has died with all its heirs, or has left this worker.
    pub fn wait_for_end(&self) {
        loop {
            // A copy: the link itself must not be locked for ever.
            let Ok(socket) = self.link().descriptor().try_clone_to_owned() else { return };
            let mut asked = [PollFd::new(&socket, PollFlags::RDHUP)];
            if poll(&mut asked, None).is_ok_and(|ready| ready > 0) {
                return;
            }
        }
    }

    /// Gives what the dead ones held to a new holder.
    pub fn replace<'a>(
        &self,
        devices: impl Iterator<Item = (u32, &'a DeviceSpec, &'a File, &'a File)>,
        connection: Option<&Connection>,
    ) -> Result<()> {
        let mut link = self.link();
        let new = start(&self.options, true)?;
        let adopt = ToHolder::Adopt { version: link::VERSION, deadline_ms: self.options.deadline_ms };
        let common = [
            self.group.file().as_fd(),
            self.journal_file.as_fd(),
            self.touches_file.as_fd(),
            self.wake_holder.as_fd(),
            self.wake_worker.as_fd(),
        ];
        must_ask(&new, &adopt, &common)?;
        for (index, spec, raw, map) in devices {
            let message = ToHolder::Hold { spec: spec.clone(), index: Some(index) };
            must_ask(&new, &message, &[raw.as_fd(), map.as_fd()])?;
        }
        if let Some(connection) = connection {
            must_ask(&new, &ToHolder::KeepConnection, &connection.files())?;
        }
        *link = new;
        Ok(())
    }

    /// Asks again where a holder has died over the question: its heir has not heard it.
    fn ask(&self, message: &ToHolder, descriptors: &[BorrowedFd<'_>]) -> Result<(ToWorker, Vec<OwnedFd>)> {
        let mut link = self.link();
        for _ in 0..QUESTIONS {
            if let Some(answer) = ask(&link, message, descriptors)? {
                return Ok(answer);
            }
            if let Some(new) = Link::connect(&self.options.root.join(SOCKET_NAME))? {
                *link = new;
            }
        }
        Err(Error::new(Code::Busy, "the holder does not answer").hint("try again"))
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_over(link: &Link) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut asked = [PollFd::from_borrowed_fd(link.descriptor(), PollFlags::RDHUP)];
    poll(&mut asked, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// `None` where no answer comes.
fn ask(
    link: &Link,
    message: &ToHolder,
    descriptors: &[BorrowedFd<'_>],
) -> Result<Option<(ToWorker, Vec<OwnedFd>)>> {
    link.send(message, descriptors)?;
    link.receive_within(ANSWER_DEADLINE)
}

fn must_ask(
    link: &Link,
    message: &ToHolder,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(ToWorker, Vec<OwnedFd>)> {
    ask(link, message, descriptors)?
        .ok_or_else(|| Error::new(Code::Busy, "the holder has ended").hint("try again"))
}

fn list(link: &Link) -> Result<Vec<HeldFiles>> {
    let mut devices = Vec::new();
    let mut from = 0;
    loop {
        match must_ask(link, &ToHolder::Find { from }, &[])? {
            (ToWorker::Held { index, spec }, descriptors) => {
                let [raw, map] = link::exactly(descriptors)?;
                devices.push(HeldFiles { index, spec, raw: raw.into(), map: map.into() });
                from = index + 1;
            }
            (ToWorker::Done, _) => return Ok(devices),
            _ => return Err(unexpected()),
        }
    }
}

fn find_connection(link: &Link) -> Result<Option<Connection>> {
    match must_ask(link, &ToHolder::FindConnection, &[])? {
        (ToWorker::Connection, descriptors) => {
            let [device, pending] = link::exactly(descriptors)?;
            Connection::of(device, pending).map(Some)
        }
        _ => Ok(None),
    }
}

fn unexpected() -> Error {
    Error::new(Code::Internal, "the holder gives another answer than was asked for")
}

/// A cgroup of the holders' own, in the one hierarchy of version 2, or in each of version 1.
fn open_own_cgroups(directory: &Path) -> Result<Vec<File>> {
    if directory.join(CGROUP_PROCESSES).exists() {
        return Ok(vec![open_own_cgroup(directory)?]);
    }
    let doing = || format!("looking for cgroups in {}", directory.display());
    let mut own = Vec::new();
    for entry in std::fs::read_dir(directory).context(doing)? {
        let path = entry.context(doing)?.path();
        if path.join(CGROUP_PROCESSES).exists() {
            own.push(open_own_cgroup(&path)?);
        }
    }
    match own.is_empty() {
        true => Err(Error::new(Code::InvalidArgument, format!("{} has no cgroups", directory.display()))),
        false => Ok(own),
    }
}

fn open_own_cgroup(hierarchy: &Path) -> Result<File> {
    let path = hierarchy.join(OWN_CGROUP);
    let doing = || format!("making the cgroup {}", path.display());
    std::fs::DirBuilder::new().recursive(true).create(&path).context(doing)?;
    for file in CPUSET_FILES {
        // In a hierarchy of version 1 a cgroup has neither processors nor memory until it is given them.
        if let Ok(inherited) = std::fs::read(hierarchy.join(file)) {
            std::fs::write(path.join(file), inherited).context(doing)?;
        }
    }
    OpenOptions::new().write(true).open(path.join(CGROUP_PROCESSES)).context(doing)
}

/// Starts a holder that outlives this process, and whoever started that: it is in a session of its own and uses nothing of ours.
fn start(HolderOptions { root, cgroups, .. }: &HolderOptions, adopts: bool) -> Result<Link> {
    let doing = || "starting the holder".to_owned();
    let socket = root.join(SOCKET_NAME);
    let _ = std::fs::remove_file(&socket);
    let log =
        OpenOptions::new().append(true).create(true).mode(0o600).open(root.join(LOG_NAME)).context(doing)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("drakkar-native").arg(HOLDER_ARGUMENT).arg(&socket);
    if adopts {
        command.arg(ADOPT_ARGUMENT);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let own_cgroups = cgroups.as_deref().map_or(Ok(Vec::new()), open_own_cgroups)?;
    // SAFETY: between fork and exec only setsid(2) and write(2) are called, which are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            for own in &own_cgroups {
                rustix::io::write(own, MYSELF)?;
            }
            match libc::setsid() {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
    }
    let mut child = command.spawn().context(doing)?;
    let started = Instant::now();
    loop {
        if let Some(link) = Link::connect(&socket)? {
            thread::spawn(move || child.wait());
            return Ok(link);
        }
        if let Some(status) = child.try_wait().context(doing)? {
            return Err(Error::new(Code::Unsupported, format!("the holder did not start: {status}"))
                .hint(format!("{} says why", root.join(LOG_NAME).display())));
        }
        if started.elapsed() > START_DEADLINE {
            return Err(Error::new(Code::Internal, "the holder did not come up in time"));
        }
        thread::sleep(POLL);
    }
}
