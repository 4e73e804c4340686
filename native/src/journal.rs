//! The events that wait for an answer, in memory that holder and worker share: it outlives both, so that whoever comes next knows what
//! the last one had read. The kernel itself writes each event into its slot, so that there is no moment at which an event has been taken and
//! nobody knows of it.
//!
//! ```text
//! free ──holder reads──▶ reading ──some block is missing──▶ waiting ──worker──▶ allowed | denied ──holder answers──▶ free
//!                           └──all blocks are here: holder answers──▶ free
//! ```
//!
//! Messages only wake the other side up; what is to be done stands here.

use std::fs::File;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::error::{Code, Context, Error, Result};
use crate::memory::{Access, Mapping};

/// Readers that can wait at the same time. More wait in the kernel's queue until one of these has been answered.
pub const SLOTS: usize = 4096;
const SLOT_BYTES: usize = 128;

/// Room for one event and its range, and not for two: each read gives one. Source: `struct fanotify_event_metadata` (24 bytes) and
/// `struct fanotify_event_info_range` (24 bytes) in include/uapi/linux/fanotify.h.
pub const EVENT_BYTES: usize = 64;

/// First the number of the last event, then all states side by side, since they are looked through often, then the slots.
const LAST_SEQUENCE_AT: usize = 0;
const STATES_AT: usize = 64;
const SLOTS_AT: usize = STATES_AT + SLOTS * 4;
const LENGTH: usize = SLOTS_AT + SLOTS * SLOT_BYTES;

/// Offsets in a slot.
const DEVICE_AT: usize = 0;
const NUMBER_AT: usize = 4;
const SEQUENCE_AT: usize = 8;
const OFFSET_AT: usize = 16;
const LENGTH_AT: usize = 24;
const SINCE_AT: usize = 32;
const EVENT_AT: usize = 64;

fn state_at(slot: usize) -> usize {
    STATES_AT + slot * 4
}

fn slot_at(slot: usize) -> usize {
    SLOTS_AT + slot * SLOT_BYTES
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    Free = 0,
    /// The kernel may have written an event into the slot.
    Reading = 1,
    Waiting = 2,
    Allowed = 3,
    Denied = 4,
}

/// A reader that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Which event it is since the first holder: a slot is used again and again.
    pub sequence: u64,
    /// Number of the device in the holder's table.
    pub device: u32,
    pub offset: u64,
    pub length: u64,
    /// Milliseconds of the clock that [`now_ms`] reads.
    pub since_ms: u64,
    /// Under which the kernel knows the event.
    pub number: i32,
}

pub struct Journal {
    memory: Mapping,
}

impl Journal {
    pub fn create() -> Result<(File, Self)> {
        let doing = || "making the journal of events".to_owned();
        let file = memfd_create("drakkar-events", MemfdFlags::CLOEXEC).context(doing)?;
        ftruncate(&file, LENGTH as u64).context(doing)?;
        let file = File::from(file);
        let journal = Self::of(&file)?;
        Ok((file, journal))
    }

    pub fn of(file: &File) -> Result<Self> {
        let memory = Mapping::of(file, Access::Write)?;
        if memory.len() != LENGTH {
            return Err(Error::new(Code::Unsupported, "the journal of events is of another version"));
        }
        Ok(Self { memory })
    }

    pub fn state(&self, slot: usize) -> State {
        match self.memory.u32(state_at(slot)).load(Acquire) {
            1 => State::Reading,
            2 => State::Waiting,
            3 => State::Allowed,
            4 => State::Denied,
            _ => State::Free,
        }
    }

    /// The slots that are in use, from the lowest on.
    pub fn in_use(&self) -> impl Iterator<Item = (usize, State)> {
        (0..SLOTS).map(|slot| (slot, self.state(slot))).filter(|(_, state)| *state != State::Free)
    }

    /// A slot for the next event, empty, in the state [`State::Reading`]; only the holder calls this.
    pub fn begin(&self, slot: usize) -> std::ptr::NonNull<u8> {
        let at = slot_at(slot);
        self.memory.u64(at + EVENT_AT).store(0, Relaxed);
        self.memory.u32(state_at(slot)).store(State::Reading as u32, Release);
        self.memory.part(at + EVENT_AT, EVENT_BYTES)
    }

    /// What the kernel has written.
    pub fn event(&self, slot: usize) -> [u8; EVENT_BYTES] {
        let mut bytes = [0; EVENT_BYTES];
        for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
            let at = slot_at(slot) + EVENT_AT + index * 8;
            word.copy_from_slice(&self.memory.u64(at).load(Relaxed).to_ne_bytes());
        }
        bytes
    }

    /// Whoever waits for missing blocks is the worker's from now on.
    pub fn wait(&self, slot: usize, device: u32, offset: u64, length: u64, number: i32) {
        let at = slot_at(slot);
        let sequence = self.memory.u64(LAST_SEQUENCE_AT).fetch_add(1, Relaxed) + 1;
        self.memory.u32(at + DEVICE_AT).store(device, Relaxed);
        self.memory.u64(at + SEQUENCE_AT).store(sequence, Relaxed);
        self.memory.u64(at + OFFSET_AT).store(offset, Relaxed);
        self.memory.u64(at + LENGTH_AT).store(length, Relaxed);
        self.memory.u64(at + SINCE_AT).store(now_ms(), Relaxed);
        self.memory.u32(at + NUMBER_AT).store(number as u32, Relaxed);
        self.memory.u32(state_at(slot)).store(State::Waiting as u32, Release);
    }

    /// Of a slot that is neither free nor being read into.
    pub fn waiting(&self, slot: usize) -> Wait {
        let at = slot_at(slot);
        Wait {
            sequence: self.memory.u64(at + SEQUENCE_AT).load(Relaxed),
            device: self.memory.u32(at + DEVICE_AT).load(Relaxed),
            offset: self.memory.u64(at + OFFSET_AT).load(Relaxed),
            length: self.memory.u64(at + LENGTH_AT).load(Relaxed),
            since_ms: self.memory.u64(at + SINCE_AT).load(Relaxed),
            number: self.memory.u32(at + NUMBER_AT).load(Relaxed) as i32,
        }
    }

    /// Says what the answer shall be, unless somebody has said it before. The sequence is compared again after the state was read: the slot may
    /// have become another event's.
    pub fn decide(&self, slot: usize, sequence: u64, allow: bool) -> bool {
        let verdict = if allow { State::Allowed } else { State::Denied };
        let state = self.memory.u32(state_at(slot));
        self.waiting(slot).sequence == sequence
            && state.compare_exchange(State::Waiting as u32, verdict as u32, AcqRel, Acquire).is_ok()
    }

    pub fn free(&self, slot: usize) {
        self.memory.u32(state_at(slot)).store(State::Free as u32, Release);
    }
}

/// Milliseconds of a clock that all processes share and that nobody sets. Source: `CLOCK_MONOTONIC` in clock_gettime(2).
pub fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_decided_once_and_only_as_itself() {
        let (file, journal) = Journal::create().unwrap();
        let other = Journal::of(&file).unwrap();
        journal.begin(5);
        assert_eq!(other.state(5), State::Reading);
        journal.wait(5, 2, 4096, 8192, 17);
        let wait = other.waiting(5);
        assert_eq!((wait.device, wait.offset, wait.length, wait.number), (2, 4096, 8192, 17));
        assert!(!other.decide(5, wait.sequence + 1, true));
        assert!(other.decide(5, wait.sequence, true));
        assert!(!journal.decide(5, wait.sequence, false));
        assert_eq!(journal.in_use().collect::<Vec<_>>(), [(5, State::Allowed)]);
        journal.free(5);
        journal.begin(5);
        journal.wait(5, 2, 0, 1, 17);
        assert!(!other.decide(5, wait.sequence, true), "an old verdict is for an old event");
    }
}
