//! The holder: the process that the kernel asks before anybody reads a device that is being filled. It answers for blocks that are here itself;
//! what is missing it leaves to the worker, in the journal. It opens no connection, parses nothing that others have made, and does as little as can
//! be done, so that it never ends: for when the last copy of the group's descriptor is closed, the kernel lets readers through, to zeros.
//!
//! Several processes have a copy: the holder, its heirs, and the worker. All of them would have to be killed within milliseconds.

mod conversation;
pub mod group;
pub mod link;
mod requests;
mod succession;
pub mod table;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::device::map::PresenceMap;
use crate::device::spec::DeviceSpec;
use crate::error::{Code, Context, Error, Result};
use crate::fuse::connection::Connection;
use crate::journal::{Journal, SLOTS, State, now_ms};
use crate::sandbox;
use crate::touches::{TouchedPages, Touches};
use group::Group;
use link::{Link, ToHolder};
use requests::Requests;
use succession::{Part, Succession};
use table::{FileIdentity, HeldTable};

/// Descriptors of the holder's own are numbered from here on. Those of events have the lowest free numbers, which are their names in answers: below this
/// there is room for one in each slot.
const OWN_DESCRIPTORS: RawFd = 2 * SLOTS as RawFd;

/// Beyond a reader's deadline, which is the worker's to keep: then the worker is dead or stuck.
const WORKER_GRACE_MS: u64 = 2_000;

/// The kernel's own second tries come within microseconds: see `worker::failures`.
const SAME_READ_MS: u64 = 100;

/// How often deadlines are looked at.
const TICK_MS: u64 = 250;

/// Events in a row before anything else is looked at.
const EVENTS_IN_A_ROW: usize = 256;

struct Held {
    raw: File,
    map_file: File,
    map: PresenceMap,
    touched: TouchedPages,
    spec: DeviceSpec,
}

struct Holder {
    group: Group,
    journal_file: File,
    journal: Journal,
    touches_file: File,
    touches: Touches,
    table: HeldTable,
    devices: BTreeMap<u32, Held>,
    by_file: HashMap<FileIdentity, u32>,
    listener: OwnedFd,
    wake_holder: OwnedFd,
    wake_worker: OwnedFd,
    worker: Option<Link>,
    /// Since when there has been no worker; what it would do can be seen from then on.
    left_ms: Option<u64>,
    /// When an event was refused last since the worker had left it lying.
    refused_ms: u64,
    requests: Option<Requests>,
}

/// Runs until the worker says goodbye, or stays away, while nothing is held.
///
/// # Errors
/// Before it holds anything; never later.
pub fn run(socket: &Path, adopts: bool) -> Result<()> {
    make_room()?;
    let _ = std::fs::remove_file(socket);
    let listener = own(&link::listen_at(socket)?)?;
    let mut succession = Succession::found()?;
    let mut holder = if adopts { Holder::adopt(listener)? } else { Holder::found(listener)? };
    sandbox::confine_holder()?;
    let mut heirs = 0;
    let mut inherits = false;
    loop {
        match succession.renew(&mut heirs) {
            Ok(Part::Holder) => {}
            Ok(Part::Heir) => {
                // It has no heirs of its own yet: they come before anything that takes time.
                inherits = true;
                continue;
            }
            Err(error) => tracing::error!(%error, heirs, "the holder has too few heirs for now"),
        }
        if std::mem::take(&mut inherits) {
            holder.inherit(&succession);
            tracing::warn!(devices = holder.devices.len(), "the holder has died: an heir goes on");
        }
        if holder.hold(&succession) {
            succession.end();
            let _ = std::fs::remove_file(socket);
            return Ok(());
        }
    }
}

/// A copy that is out of the way of events.
fn own(descriptor: &impl AsFd) -> Result<OwnedFd> {
    fcntl_dupfd_cloexec(descriptor, OWN_DESCRIPTORS).context(|| "moving a descriptor".into())
}

fn make_room() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context(|| "raising the limit of open files".into())?;
    let needed = OWN_DESCRIPTORS as u64 + 2 * u64::from(table::MAX_DEVICES) + 64;
    match limit.maximum {
        Some(maximum) if maximum < needed => {
            let message = format!("{maximum} open files are too few; the holder needs {needed}");
            Err(Error::new(Code::Unsupported, message).hint("raise the limit (LimitNOFILE= in systemd)"))
        }
        _ => Ok(()),
    }
}

impl Holder {
    fn found(listener: OwnedFd) -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = || eventfd(0, flags).context(|| "making an event descriptor".into());
        let ((journal, _), (touches, _)) = (Journal::create()?, Touches::create()?);
        Self::with(listener, Group::create_or_stand_in()?.file(), &journal, &touches, &wake()?, &wake()?)
    }

    /// Takes the place of a holder that has died with its heirs. The worker, which has kept the group meanwhile, gives what the old ones held.
    fn adopt(listener: OwnedFd) -> Result<Self> {
        let worker = Link::of(own(
            &accept_with(&listener, SocketFlags::CLOEXEC).context(|| "greeting a worker".into())?
        )?);
        let Some((ToHolder::Adopt { version: _, deadline_ms }, descriptors)) = worker.receive()? else {
            return Err(Error::new(Code::InvalidArgument, "the worker has nothing to be adopted"));
        };
        let [group, journal, touches, wake_holder, wake_worker] = link::exactly(descriptors)?;
        let (journal, touches) = (File::from(journal), File::from(touches));
        let mut holder = Self::with(listener, &group, &journal, &touches, &wake_holder, &wake_worker)?;
        drop((group, journal, touches, wake_holder, wake_worker));
        holder.table.set_deadline_ms(deadline_ms);
        holder.keep_numbers()?;
        holder.welcome(&worker)?;
        holder.set_worker(Some(worker));
        Ok(holder)
    }

    fn with(
        listener: OwnedFd,
        group: &impl AsFd,
        journal: &File,
        touches: &File,
        wake_holder: &impl AsFd,
        wake_worker: &impl AsFd,
    ) -> Result<Self> {
        Ok(Self {
            group: Group::of(own(group)?),
            journal_file: own(journal)?.into(),
            journal: Journal::of(journal)?,
            touches_file: own(touches)?.into(),
            touches: Touches::of(touches)?,
            table: HeldTable::create()?,
            devices: BTreeMap::new(),
            by_file: HashMap::new(),
            listener,
            wake_holder: own(wake_holder)?,
            wake_worker: own(wake_worker)?,
            worker: None,
            left_ms: None,
            refused_ms: 0,
            requests: None,
        })
    }

    /// The numbers under which the kernel knows what the dead had read must not become other events'. Of what they had only begun to look at
    /// nobody knows which file it is: those readers get an error.
    fn keep_numbers(&mut self) -> Result<()> {
        let nothing = own(&File::open("/dev/null").context(|| "opening /dev/null".into())?)?;
        for (slot, state) in self.journal.in_use().collect::<Vec<_>>() {
            let number = match state {
                State::Reading => group::parse(&self.journal.event(slot)).map(|event| event.number),
                _ => Some(self.journal.waiting(slot).number),
            };
            // SAFETY: `own` has moved everything of ours out of the way of these numbers.
            if let Some(number) = number
                && unsafe { libc::dup3(nothing.as_raw_fd(), number, libc::O_CLOEXEC) } < 0
            {
                return Err(std::io::Error::last_os_error()).context(|| "keeping an event's number".into());
            }
            if state == State::Reading {
                self.examine(slot);
            }
        }
        Ok(())
    }

    /// Goes on where a dead holder was: the tables are common, and so are the descriptors. What this process remembers of them is as old as
    /// its making, and not its own.
    fn inherit(&mut self, succession: &Succession) {
        for held in std::mem::take(&mut self.devices).into_values() {
            let _ = (held.raw.into_raw_fd(), held.map_file.into_raw_fd());
        }
        self.by_file.clear();
        if let Some(worker) = self.worker.take() {
            worker.forget();
        }
        // SAFETY: the table names a descriptor of the common table, of which the dead was the owner.
        self.worker =
            self.table.worker().map(|descriptor| Link::of(unsafe { OwnedFd::from_raw_fd(descriptor) }));
        if let Some(requests) = self.requests.take() {
            requests.forget();
        }
        if let Some(descriptors) = self.table.connection() {
            // SAFETY: as above.
            let [device, pending] = descriptors.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) });
            match Connection::of(device, pending) {
                Ok(connection) => self.requests = Some(Requests::of(connection)),
                Err(error) => tracing::error!(%error, "the connection to FUSE can't be taken over"),
            }
        }
        self.left_ms = self.worker.is_none().then(now_ms);
        for entry in self.table.entries() {
            // SAFETY: as above.
            let (raw, map_file) = unsafe { (File::from_raw_fd(entry.raw), File::from_raw_fd(entry.map)) };
            if let Err(error) = self.keep(entry.index, entry.spec, raw, map_file) {
                tracing::error!(%error, "a device can't be taken over");
            }
        }
        for (slot, state) in self.journal.in_use().collect::<Vec<_>>() {
            if state == State::Reading {
                self.examine(slot);
            }
        }
        self.answer_decided();
        self.close_what_nobody_owns(succession);
    }

    /// What the dead had opened and not yet noted anywhere.
    fn close_what_nobody_owns(&self, succession: &Succession) {
        let common: [&dyn AsRawFd; 7] = [
            self.group.file(),
            &self.journal_file,
            &self.touches_file,
            &self.listener,
            &self.wake_holder,
            &self.wake_worker,
            succession.deaths(),
        ];
        let mut known: HashSet<RawFd> = common.into_iter().map(AsRawFd::as_raw_fd).collect();
        known.extend(self.requests.iter().flat_map(|requests| requests.connection().descriptors()));
        known.extend(self.worker.iter().map(|worker| worker.descriptor().as_raw_fd()));
        known
            .extend(self.devices.values().flat_map(|held| [held.raw.as_raw_fd(), held.map_file.as_raw_fd()]));
        known.extend(self.journal.in_use().map(|(slot, _)| self.journal.waiting(slot).number));
        let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let numbers: Vec<RawFd> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        for number in
            numbers.into_iter().filter(|number| *number > libc::STDERR_FILENO && !known.contains(number))
        {
            // SAFETY: nothing in this process owns it. The listing's own descriptor is closed already, which does no harm.
            unsafe { libc::close(number) };
        }
    }

    /// Returns at least now and then: `true` when the worker has said goodbye, or stays away, and nothing is held; `false` when heirs may be missing.
    fn hold(&mut self, succession: &Succession) -> bool {
        let started_ms = now_ms();
        while now_ms() < started_ms + TICK_MS {
            let [group, woken, listener, deaths, worker] = self.wait(succession);
            if group {
                self.take_events();
            }
            if woken {
                let _ = rustix::io::read(&self.wake_holder, &mut [0; 8]);
                self.answer_decided();
            }
            if listener {
                self.greet();
            }
            if worker && self.listen() {
                return true;
            }
            if deaths {
                let _ = rustix::io::read(succession.deaths(), &mut [0; 128]);
                return false;
            }
        }
        self.deny_overdue();
        self.is_left() && self.holds_nothing()
    }

    fn holds_nothing(&self) -> bool {
        self.devices.is_empty() && self.requests.is_none()
    }

    fn wait(&self, succession: &Succession) -> [bool; 5] {
        let always = [
            self.group.file().as_fd(),
            self.wake_holder.as_fd(),
            self.listener.as_fd(),
            succession.deaths().as_fd(),
        ];
        let asked = always.into_iter().chain(self.worker.as_ref().map(Link::descriptor));
        let mut asked: Vec<PollFd<'_>> =
            asked.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)).collect();
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK_MS as i64 * 1_000_000 };
        if poll(&mut asked, Some(&tick)).is_err() {
            return [false; 5];
        }
        std::array::from_fn(|index| asked.get(index).is_some_and(|asked| !asked.revents().is_empty()))
    }

    fn take_events(&mut self) {
        let mut slot = 0;
        for _ in 0..EVENTS_IN_A_ROW {
            while slot < SLOTS && self.journal.state(slot) != State::Free {
                slot += 1;
            }
            if slot == SLOTS {
                return;
            }
            match self.group.read_into(self.journal.begin(slot)) {
                Ok(true) => self.examine(slot),
                Ok(false) => return self.journal.free(slot),
                Err(error) => {
                    tracing::error!(%error, "no event can be read for now");
                    return self.journal.free(slot);
                }
            }
        }
    }

    /// Answers an event whose blocks are here; leaves any other to the worker.
    fn examine(&mut self, slot: usize) {
        let Some(event) = group::parse(&self.journal.event(slot)) else {
            return self.journal.free(slot);
        };
        // SAFETY: the kernel has made the descriptor for us and nobody else closes it; it stays open until the event is answered.
        let file = unsafe { BorrowedFd::borrow_raw(event.number) };
        let index = FileIdentity::of(&file).ok().and_then(|identity| self.by_file.get(&identity)).copied();
        let held = index.and_then(|index| self.devices.get_mut(&index));
        match (index, held, event.range) {
            (Some(index), Some(held), Some((offset, length))) => {
                let is_here = held.map.has_all(held.map.shape().blocks_of(offset, length));
                if held.touched.touch(offset, length) {
                    self.touches.record(index, offset, length.try_into().unwrap_or(u32::MAX), is_here);
                }
                if is_here {
                    self.answer(slot, event.number, true);
                } else if self.is_left() || now_ms().saturating_sub(self.refused_ms) < SAME_READ_MS {
                    self.answer(slot, event.number, false);
                } else {
                    self.journal.wait(slot, index, offset, length, event.number);
                    let _ = rustix::io::write(&self.wake_worker, &1u64.to_ne_bytes());
                }
            }
            _ => {
                tracing::error!(number = event.number, range = ?event.range, "a read of what is not held is refused");
                self.answer(slot, event.number, false);
            }
        }
    }

    /// Answers what has been decided: yes only where the blocks are here, whoever says so.
    fn answer_decided(&self) {
        for (slot, state) in self.journal.in_use() {
            if state != State::Allowed && state != State::Denied {
                continue;
            }
            let wait = self.journal.waiting(slot);
            let is_here = self
                .devices
                .get(&wait.device)
                .is_some_and(|held| held.map.has_all(held.map.shape().blocks_of(wait.offset, wait.length)));
            self.answer(slot, wait.number, state == State::Allowed && is_here);
        }
    }

    fn patience_ms(&self) -> u64 {
        self.table.deadline_ms().saturating_add(WORKER_GRACE_MS)
    }

    /// Whether there has been no worker for so long that nobody waits for one any more.
    fn is_left(&self) -> bool {
        self.left_ms.is_some_and(|left_ms| now_ms().saturating_sub(left_ms) > self.patience_ms())
    }

    fn deny_overdue(&mut self) {
        let now = now_ms();
        let patience_ms = self.patience_ms();
        for (slot, _) in self.journal.in_use().filter(|(_, state)| *state == State::Waiting) {
            let wait = self.journal.waiting(slot);
            let is_overdue = now.saturating_sub(wait.since_ms) > patience_ms;
            if is_overdue && self.journal.decide(slot, wait.sequence, false) {
                self.refused_ms = now;
                tracing::warn!(
                    device = wait.device,
                    offset = wait.offset,
                    "a read is refused: nobody has filled it"
                );
            }
        }
        self.answer_decided();
        let is_left = self.is_left();
        if let Some(requests) = &mut self.requests {
            requests.refuse_overdue(now, patience_ms);
            if requests.are_stalled(now, patience_ms) || is_left {
                requests.refuse_all();
            }
        }
    }

    fn answer(&self, slot: usize, number: RawFd, allow: bool) {
        if let Err(error) = self.group.answer(number, allow) {
            tracing::error!(number, %error, "an event is not answered");
        }
        self.journal.free(slot);
        // SAFETY: the event's descriptor is ours; with the answer nobody needs it or its number any more.
        unsafe { libc::close(number) };
    }

    fn keep(&mut self, index: u32, spec: DeviceSpec, raw: File, map_file: File) -> Result<()> {
        let map = PresenceMap::view(&map_file, spec.shape()?)?;
        self.by_file.insert(FileIdentity::of(&raw)?, index);
        let touched = TouchedPages::of(spec.size_bytes);
        self.devices.insert(index, Held { raw, map_file, map, touched, spec });
        Ok(())
    }
}
