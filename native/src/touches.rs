//! What readers have touched of the devices that are being filled, in the order in which they came: from it the fleet learns what the next start of the
//! same image will need. In memory that holder and worker share, of a bounded size: the oldest entries make room.

use std::fs::File;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::error::{Code, Context, Error, Result};
use crate::journal::now_ms;
use crate::memory::{Access, Mapping};

const ENTRIES: u64 = 65_536;
const ENTRY_BYTES: usize = 32;
const NEXT_AT: usize = 0;
const ENTRIES_AT: usize = 64;
const LENGTH: usize = ENTRIES_AT + ENTRIES as usize * ENTRY_BYTES;

/// Offsets in an entry. The number comes last: an entry that carries its own is whole.
const DEVICE_AT: usize = 0;
const PRESENT_AT: usize = 4;
const OFFSET_AT: usize = 8;
const LENGTH_AND_AGE_AT: usize = 16;
const NUMBER_AT: usize = 24;

/// A part of a device that somebody has come to read for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Number of the device in the holder's table.
    pub device: u32,
    pub offset: u64,
    pub length: u32,
    /// Whether all of it was here already.
    pub was_present: bool,
    /// Milliseconds of the clock that [`now_ms`] reads, modulo 2³².
    pub at_ms: u32,
}

pub struct Touches(Mapping);

impl Touches {
    pub fn create() -> Result<(File, Self)> {
        let doing = || "making the log of touches".to_owned();
        let file = memfd_create("drakkar-touches", MemfdFlags::CLOEXEC).context(doing)?;
        ftruncate(&file, LENGTH as u64).context(doing)?;
        let file = File::from(file);
        let touches = Self::of(&file)?;
        Ok((file, touches))
    }

    pub fn of(file: &File) -> Result<Self> {
        let memory = Mapping::of(file, Access::Write)?;
        if memory.len() != LENGTH {
            return Err(Error::new(Code::Unsupported, "the log of touches is of another version"));
        }
        Ok(Self(memory))
    }

    pub fn record(&self, device: u32, offset: u64, length: u32, was_present: bool) {
        let number = self.0.u64(NEXT_AT).fetch_add(1, Relaxed);
        let at = ENTRIES_AT + (number % ENTRIES) as usize * ENTRY_BYTES;
        self.0.u64(at + NUMBER_AT).store(0, Release);
        self.0.u32(at + DEVICE_AT).store(device, Relaxed);
        self.0.u32(at + PRESENT_AT).store(was_present.into(), Relaxed);
        self.0.u64(at + OFFSET_AT).store(offset, Relaxed);
        let age = now_ms() & u64::from(u32::MAX);
        self.0.u64(at + LENGTH_AND_AGE_AT).store(u64::from(length) << 32 | age, Relaxed);
        self.0.u64(at + NUMBER_AT).store(number + 1, Release);
    }

    /// The entries that are there, oldest first. Those that are being written at the moment are left out.
    pub fn all(&self) -> Vec<Touch> {
        let end = self.0.u64(NEXT_AT).load(Acquire);
        (end.saturating_sub(ENTRIES)..end).filter_map(|number| self.entry(number)).collect()
    }

    fn entry(&self, number: u64) -> Option<Touch> {
        let at = ENTRIES_AT + (number % ENTRIES) as usize * ENTRY_BYTES;
        let is_whole = || self.0.u64(at + NUMBER_AT).load(Acquire) == number + 1;
        if !is_whole() {
            return None;
        }
        let packed = self.0.u64(at + LENGTH_AND_AGE_AT).load(Relaxed);
        let touch = Touch {
            device: self.0.u32(at + DEVICE_AT).load(Relaxed),
            offset: self.0.u64(at + OFFSET_AT).load(Relaxed),
            length: (packed >> 32) as u32,
            was_present: self.0.u32(at + PRESENT_AT).load(Relaxed) != 0,
            at_ms: packed as u32,
        };
        is_whole().then_some(touch)
    }
}

/// Which pages of a device have been touched.
pub struct TouchedPages(Vec<u64>);

const PAGE_BYTES: u64 = 4096;

impl TouchedPages {
    pub fn of(size_bytes: u64) -> Self {
        Self(vec![0; size_bytes.div_ceil(PAGE_BYTES * 64) as usize])
    }

    /// Whether a page of this part has not been touched before. All of them have been from now on.
    pub fn touch(&mut self, offset: u64, length: u64) -> bool {
        let mut is_new = false;
        for page in offset / PAGE_BYTES..offset.saturating_add(length).div_ceil(PAGE_BYTES) {
            let Some(word) = self.0.get_mut((page / 64) as usize) else { break };
            is_new |= *word & (1 << (page % 64)) == 0;
            *word |= 1 << (page % 64);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_touches_are_there_in_order() {
        let (file, touches) = Touches::create().unwrap();
        for number in 0..ENTRIES + 5 {
            touches.record(3, number * 4096, 4096, number % 2 == 0);
        }
        let all = Touches::of(&file).unwrap().all();
        assert_eq!(all.len() as u64, ENTRIES);
        assert_eq!(
            (all[0].device, all[0].offset, all[0].length, all[0].was_present),
            (3, 5 * 4096, 4096, false)
        );
        assert!(all.windows(2).all(|pair| pair[1].offset == pair[0].offset + 4096));
    }

    #[test]
    fn a_page_is_new_once() {
        let mut pages = TouchedPages::of(100 * PAGE_BYTES);
        assert!(pages.touch(5000, 10));
        assert!(!pages.touch(4096, 4096));
        assert!(pages.touch(4096, 4097));
        assert!(!pages.touch(u64::MAX - 5, 100), "beyond the end there is nothing");
    }
}
