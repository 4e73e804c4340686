//! The requests that were read and not answered yet, in memory that holder and worker share. The kernel itself writes each request into its
//! slot, so that there is no moment at which one has been taken and nobody knows of it: the next worker answers what the last one had read, on
//! every kernel. (`FUSE_NOTIFY_RESEND` would have the kernel say it once more, from 6.9 on.)
//!
//! A slot's *word* is 0 while it is free, else a number that no other use of it has: whoever answers a request frees its slot only as
//! long as it is that request's.

use std::fs::File;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::request::SEEN_BYTES;
use crate::error::{Code, Context, Error, Result};
use crate::memory::{Access, Mapping};

/// Requests that can be under way at the same time. More wait in the kernel's queue until one of these has been answered.
pub const SLOTS: usize = 4096;
/// No slot lies on two pages: touched when it is claimed, its page is there when the kernel writes.
const SLOT_BYTES: usize = 256;

/// First the last word that was given, then all words side by side, since they are looked through often, then the slots.
const LAST_WORD_AT: usize = 0;
const WORDS_AT: usize = 256;
const SLOTS_AT: usize = WORDS_AT + SLOTS * 8;
const LENGTH: usize = SLOTS_AT + SLOTS * SLOT_BYTES;

/// Offsets in a slot.
const SINCE_AT: usize = 0;
const REQUEST_AT: usize = 16;
/// Of the request: see `request::header`.
const UNIQUE_AT: usize = REQUEST_AT + 8;

fn word_at(slot: usize) -> usize {
    WORDS_AT + slot * 8
}

fn slot_at(slot: usize) -> usize {
    SLOTS_AT + slot * SLOT_BYTES
}

/// One use of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    word: u64,
    slot: usize,
}

pub struct Pending {
    memory: Mapping,
}

impl Pending {
    pub fn create() -> Result<(File, Self)> {
        let doing = || "making the table of requests".to_owned();
        let file = memfd_create("drakkar-requests", MemfdFlags::CLOEXEC).context(doing)?;
        ftruncate(&file, LENGTH as u64).context(doing)?;
        let file = File::from(file);
        let pending = Self::of(&file)?;
        Ok((file, pending))
    }

    pub fn of(file: &File) -> Result<Self> {
        let memory = Mapping::of(file, Access::Write)?;
        if memory.len() != LENGTH {
            return Err(Error::new(Code::Unsupported, "the table of requests is of another version"));
        }
        Ok(Self { memory })
    }

    /// A free slot; `None` where there is none for now.
    pub fn claim(&self) -> Option<Ticket> {
        (0..SLOTS).find_map(|slot| self.renew(Ticket { word: 0, slot }))
    }

    /// The same slot for the next request, unless somebody else has freed it.
    pub fn renew(&self, ticket: Ticket) -> Option<Ticket> {
        let word = self.memory.u64(LAST_WORD_AT).fetch_add(1, Relaxed) + 1;
        let renewed = self.exchange(ticket, word)?;
        // Whoever looks at it before this answers once more what has been answered: the kernel knows better.
        self.memory.u64(slot_at(ticket.slot) + UNIQUE_AT).store(0, Release);
        self.memory.u64(slot_at(ticket.slot) + SINCE_AT).store(0, Release);
        Some(renewed)
    }

    /// `false` where it is another request's already, or nobody's.
    pub fn free(&self, ticket: Ticket) -> bool {
        self.exchange(ticket, 0).is_some()
    }

    /// Slots that are in use, with requests or without.
    pub fn in_use(&self) -> impl Iterator<Item = Ticket> {
        (0..SLOTS)
            .map(|slot| Ticket { word: self.memory.u64(word_at(slot)).load(Acquire), slot })
            .filter(|ticket| ticket.word != 0)
    }

    /// Grows with every request that somebody takes.
    pub fn taken(&self) -> u64 {
        self.memory.u64(LAST_WORD_AT).load(Acquire)
    }

    pub fn is_current(&self, ticket: Ticket) -> bool {
        self.memory.u64(word_at(ticket.slot)).load(Acquire) == ticket.word
    }

    /// Where the kernel shall write the first [`SEEN_BYTES`] of a request.
    pub fn buffer(&self, ticket: Ticket) -> NonNull<u8> {
        self.memory.part(slot_at(ticket.slot) + REQUEST_AT, SEEN_BYTES)
    }

    /// What it has written: zeros where nothing.
    pub fn request(&self, ticket: Ticket) -> [u8; SEEN_BYTES] {
        let mut bytes = [0; SEEN_BYTES];
        for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
            let at = slot_at(ticket.slot) + REQUEST_AT + index * 8;
            word.copy_from_slice(&self.memory.u64(at).load(Relaxed).to_ne_bytes());
        }
        bytes
    }

    /// Since when a reader waits for what is missing, in the clock of [`crate::journal::now_ms`]: says it, unless it has been said before.
    pub fn waits_since(&self, ticket: Ticket, now_ms: u64) -> u64 {
        let since = self.memory.u64(slot_at(ticket.slot) + SINCE_AT);
        since.compare_exchange(0, now_ms, AcqRel, Acquire).err().unwrap_or(now_ms)
    }

    fn exchange(&self, ticket: Ticket, word: u64) -> Option<Ticket> {
        let place = self.memory.u64(word_at(ticket.slot));
        place.compare_exchange(ticket.word, word, AcqRel, Acquire).ok().map(|_| Ticket { word, ..ticket })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_freed_only_by_who_has_it() {
        let (file, pending) = Pending::create().unwrap();
        let other = Pending::of(&file).unwrap();
        let first = pending.claim().unwrap();
        let second = other.claim().unwrap();
        assert_eq!(pending.in_use().collect::<Vec<_>>(), [first, second]);
        let renewed = pending.renew(first).unwrap();
        assert!(!other.free(first) && pending.renew(first).is_none() && !other.is_current(first));
        assert!(other.free(renewed) && !pending.free(renewed));
        assert_eq!(other.in_use().collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn what_was_written_is_gone_with_the_next_use() {
        let (_file, pending) = Pending::create().unwrap();
        let ticket = pending.claim().unwrap();
        // SAFETY: nobody else uses the memory.
        unsafe { pending.buffer(ticket).write_bytes(1, SEEN_BYTES) };
        assert_eq!(pending.request(ticket), [1; SEEN_BYTES]);
        assert_eq!((pending.waits_since(ticket, 5), pending.waits_since(ticket, 6)), (5, 5));
        let renewed = pending.renew(ticket).unwrap();
        assert_eq!(crate::fuse::request::header(&pending.request(renewed)), None);
        assert_eq!(pending.waits_since(renewed, 6), 6);
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let (_file, pending) = Pending::create().unwrap();
        assert_eq!((0..=SLOTS).filter(|_| pending.claim().is_some()).count(), SLOTS);
    }
}
