//! Readers that wait, whichever way the kernel tells of them: one fetch for all who wait for a block, and an answer for each.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::devices::Device;
use super::filler::{Filler, Wish};
use super::waits::Reader;
use crate::fuse::pending::Ticket;
use crate::journal::{State, now_ms};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// A reader that waits, and how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReaderKey {
    /// Stopped by fanotify: a slot of the journal, and which event it had.
    Event { sequence: u64, slot: usize },
    /// Of a file that we serve.
    Request(Ticket),
}

impl Filler {
    pub(super) fn take_events(&self) {
        loop {
            self.look_at_journal();
            let mut asked = [PollFd::new(&self.holding.wake_worker, PollFlags::IN)];
            let _ = poll(&mut asked, None);
            let _ = rustix::io::read(self.holding.wake_worker.as_fd(), &mut [0; 8]);
        }
    }

    fn look_at_journal(&self) {
        let journal = &self.holding.journal;
        for (slot, state) in journal.in_use() {
            if state != State::Waiting {
                continue;
            }
            let wait = journal.waiting(slot);
            let key = ReaderKey::Event { sequence: wait.sequence, slot };
            if self.waits().contains(key) {
                continue;
            }
            match self.devices().of_index(wait.device) {
                Some(device) => self.wait(key, &device, wait.offset, wait.length, wait.since_ms),
                None => self.decide(key, false),
            }
        }
    }

    /// Answers a reader when all its blocks are here: at once, or when the last of them comes.
    pub(super) fn wait(&self, key: ReaderKey, device: &Device, offset: u64, length: u64, since_ms: u64) {
        let blocks = device.map.shape().blocks_of(offset, length);
        let missing: Vec<u32> = blocks.clone().filter(|block| !device.map.has(*block)).collect();
        if missing.is_empty() {
            return self.decide(key, true);
        }
        if self.failures().are_known(device.index, &missing, now_ms()) {
            return self.decide(key, false);
        }
        let fresh = self.waits().add(key, device.index, &missing, blocks, offset, since_ms);
        // What has arrived between the look at the map and the note in the table nobody else will tell of.
        for block in missing.into_iter().filter(|block| device.map.has(*block)) {
            self.arrived(device, block);
        }
        self.say(device, fresh);
    }

    fn say(&self, device: &Device, blocks: Vec<u32>) {
        if let (Some(listener), false) = (&*self.listener(), blocks.is_empty()) {
            let _ = listener.try_send(Wish { device: device.spec.id.clone(), blocks });
        }
    }

    pub(super) fn arrived(&self, device: &Device, block: u32) {
        device.note_arrival();
        let done = self.waits().arrived((device.index, block));
        for key in done {
            self.decide(key, true);
        }
    }

    pub(super) fn refuse_block(&self, device: &Device, block: u32, reason: &str) {
        self.failures().note(std::iter::once((device.index, block)), None, now_ms());
        let refused = self.waits().failed((device.index, block));
        for (key, reader) in refused {
            tracing::warn!(device = device.name(), offset = reader.offset, block, reason, "a read fails");
            self.decide(key, false);
        }
    }

    fn decide(&self, key: ReaderKey, allow: bool) {
        match key {
            ReaderKey::Event { sequence, slot } => {
                if self.holding.journal.decide(slot, sequence, allow) {
                    self.holding.wake();
                }
            }
            ReaderKey::Request(ticket) => self.answer(ticket, allow),
        }
    }

    /// Readers get an error, whatever they wait for.
    pub(super) fn refuse_readers(&self, is_meant: impl Fn(&ReaderKey, &Reader) -> bool) {
        let refused = self.waits().those(is_meant);
        for key in refused {
            self.waits().remove(key);
            self.decide(key, false);
        }
    }

    pub(super) fn watch_deadlines(&self) {
        loop {
            thread::sleep(TICK);
            let overdue = self.waits().older_than(now_ms().saturating_sub(self.deadline_ms));
            for key in overdue {
                let Some(reader) = self.waits().remove(key) else { continue };
                let device = self.devices().of_index(reader.device);
                if let Some(device) = &device {
                    let missing = reader.blocks.clone().filter(|block| !device.map.has(*block));
                    let silent = device.is_silent_since(reader.since_ms).then_some(device.index);
                    self.failures().note(missing.map(|block| (device.index, block)), silent, now_ms());
                }
                tracing::warn!(
                    device = device.map(|device| device.name()),
                    offset = reader.offset,
                    waited_ms = now_ms() - reader.since_ms,
                    "a read fails: the daemon has not brought it in time"
                );
                self.decide(key, false);
            }
        }
    }
}
