//! Memory that processes share: a file that is mapped. What is in it is read and written through atomics alone, since another
//! process may do the same at any moment.

use std::fs::File;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};

use crate::error::{Code, Context, Error, Result};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// The whole of a file, mapped. The file must not become shorter: only files that belong to root are mapped, and none of them ever is.
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is only reached through atomics and stays where it is until it is dropped.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

macro_rules! atomic {
    ($name:ident, $kind:ty) => {
        /// # Panics
        /// Where it is not wholly within the mapping, or not aligned: places follow from layouts that were checked when the file was opened.
        pub fn $name(&self, offset: usize) -> &$kind {
            let end = offset.checked_add(size_of::<$kind>());
            assert!(end.is_some_and(|end| end <= self.length) && offset.is_multiple_of(align_of::<$kind>()));
            // SAFETY: it lies within the mapping and is aligned; every bit pattern is a value of an atomic number.
            unsafe { self.start.add(offset).cast::<$kind>().as_ref() }
        }
    };
}

impl Mapping {
    pub fn of(file: &File, access: Access) -> Result<Self> {
        let doing = || "mapping a file".to_owned();
        let length = file.metadata().context(doing)?.len();
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length > 0)
            .ok_or_else(|| Error::new(Code::InvalidContent, "an empty file can't be mapped"))?;
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start =
            unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, file.as_fd(), 0) }
                .context(doing)?;
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| Error::new(Code::Internal, doing()))?;
        Ok(Self { start, length })
    }

    atomic!(u8, AtomicU8);
    atomic!(u32, AtomicU32);
    atomic!(u64, AtomicU64);

    pub fn len(&self) -> usize {
        self.length
    }

    /// For system calls that fill a part of it.
    ///
    /// # Panics
    /// Where the part is not wholly within the mapping.
    pub fn part(&self, offset: usize, length: usize) -> NonNull<u8> {
        assert!(offset.checked_add(length).is_some_and(|end| end <= self.length));
        // SAFETY: it lies within the mapping.
        unsafe { self.start.add(offset) }
    }

    /// Returns when what was written is on the disk.
    pub fn sync(&self) -> Result<()> {
        // SAFETY: the mapping is whole and ours.
        unsafe { msync(self.start.as_ptr().cast(), self.length, MsyncFlags::SYNC) }
            .context(|| "syncing a mapped file".into())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: whoever borrowed from the mapping has gone before it.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}
