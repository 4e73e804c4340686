//! The devices that are held, in memory that the holder and its heirs share: with it, and the descriptors that they share as well, an heir goes on
//! where the holder was.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};

use crate::device::spec::DeviceSpec;
use crate::error::{Code, Context, Error, Result};
use crate::ids::ContentId;
use crate::memory::{Access, Mapping};

/// Devices that are being filled at the same time: thirty volumes with as many devices as there can be, or some hundred ordinary ones.
pub const MAX_DEVICES: u32 = 2048;

/// Before the entries: the descriptors of the worker's link, of `/dev/fuse` and of its table of requests, or 0, and the readers' deadline.
const WORKER_AT: usize = 0;
const FUSE_AT: usize = 4;
const REQUESTS_AT: usize = 8;
const DEADLINE_AT: usize = 16;
/// And the number that was given last.
const LAST_AT: usize = 12;
const ENTRIES_AT: usize = 128;
const ENTRY_BYTES: usize = 128;
/// Offsets in an entry.
const STATE_AT: usize = 0;
const RAW_AT: usize = 4;
const MAP_AT: usize = 8;
const BLOCK_AT: usize = 12;
const SIZE_AT: usize = 16;
const ID_AT: usize = 64;

const HELD: u32 = 1;

pub struct HeldTable(Mapping);

fn entry_at(index: u32) -> usize {
    ENTRIES_AT + index as usize * ENTRY_BYTES
}

pub struct Entry {
    pub index: u32,
    pub spec: DeviceSpec,
    /// Numbers of descriptors of the holder and its heirs.
    pub raw: RawFd,
    pub map: RawFd,
}

/// File system and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    disk: u64,
    inode: u64,
}

impl FileIdentity {
    pub fn of(file: &impl std::os::fd::AsFd) -> Result<Self> {
        let stat = fstat(file).context(|| "examining a device".into())?;
        Ok(Self { disk: stat.st_dev, inode: stat.st_ino })
    }
}

impl HeldTable {
    pub fn create() -> Result<Self> {
        let doing = || "making the table of devices".to_owned();
        let file = memfd_create("drakkar-devices", MemfdFlags::CLOEXEC).context(doing)?;
        ftruncate(&file, entry_at(MAX_DEVICES) as u64).context(doing)?;
        Ok(Self(Mapping::of(&File::from(file), Access::Write)?))
    }

    /// Whole when it is seen at all.
    pub fn put(&self, index: u32, spec: &DeviceSpec, raw: &File, map: &File) {
        let at = entry_at(index);
        self.0.u32(at + RAW_AT).store(raw.as_raw_fd() as u32, Relaxed);
        self.0.u32(at + MAP_AT).store(map.as_raw_fd() as u32, Relaxed);
        self.0.u32(at + BLOCK_AT).store(spec.block_bytes, Relaxed);
        self.0.u64(at + SIZE_AT).store(spec.size_bytes, Relaxed);
        for (offset, digit) in spec.id.as_str().bytes().enumerate() {
            self.0.u8(at + ID_AT + offset).store(digit, Relaxed);
        }
        self.0.u32(at + STATE_AT).store(HELD, Release);
    }

    pub fn remove(&self, index: u32) {
        self.0.u32(entry_at(index) + STATE_AT).store(0, Release);
    }

    /// The descriptor of the worker's connection.
    pub fn worker(&self) -> Option<RawFd> {
        Some(self.0.u32(WORKER_AT).load(Acquire) as RawFd).filter(|descriptor| *descriptor > 0)
    }

    pub fn set_worker(&self, descriptor: Option<RawFd>) {
        self.0.u32(WORKER_AT).store(descriptor.unwrap_or(0) as u32, Release);
    }

    /// How long a reader waits for what is missing; for ever until a worker has said it.
    pub fn deadline_ms(&self) -> u64 {
        match self.0.u64(DEADLINE_AT).load(Acquire) {
            0 => u64::MAX,
            deadline_ms => deadline_ms,
        }
    }

    pub fn set_deadline_ms(&self, deadline_ms: u64) {
        self.0.u64(DEADLINE_AT).store(deadline_ms, Release);
    }

    /// The descriptors of the connection that is kept: of `/dev/fuse` and of its table of requests.
    pub fn connection(&self) -> Option<[RawFd; 2]> {
        let fuse = Some(self.0.u32(FUSE_AT).load(Acquire) as RawFd).filter(|descriptor| *descriptor > 0)?;
        Some([fuse, self.0.u32(REQUESTS_AT).load(Relaxed) as RawFd])
    }

    /// Whole when it is seen at all.
    pub fn set_connection(&self, descriptors: Option<[RawFd; 2]>) {
        let [fuse, requests] = descriptors.unwrap_or_default();
        if descriptors.is_some() {
            self.0.u32(REQUESTS_AT).store(requests as u32, Relaxed);
        }
        self.0.u32(FUSE_AT).store(fuse as u32, Release);
    }

    /// In turn, so that a number is another device's only after long: logs name devices by it.
    pub fn free_index(&self) -> Result<u32> {
        let last = self.0.u32(LAST_AT).load(Acquire);
        let next =
            (1..=MAX_DEVICES).map(|step| (last + step) % MAX_DEVICES).find(|index| !self.is_held(*index));
        self.0.u32(LAST_AT).store(next.unwrap_or(last), Release);
        next.ok_or_else(|| {
            Error::new(Code::LimitExceeded, format!("{MAX_DEVICES} devices are being filled already"))
                .hint("unmount volumes that nobody uses, or let them be completed")
        })
    }

    pub fn is_held(&self, index: u32) -> bool {
        index < MAX_DEVICES && self.0.u32(entry_at(index) + STATE_AT).load(Acquire) == HELD
    }

    pub fn entries(&self) -> Vec<Entry> {
        (0..MAX_DEVICES).filter(|index| self.is_held(*index)).filter_map(|index| self.entry(index)).collect()
    }

    fn entry(&self, index: u32) -> Option<Entry> {
        let at = entry_at(index);
        let id: String =
            (0..64).map(|offset| char::from(self.0.u8(at + ID_AT + offset).load(Relaxed))).collect();
        let spec = DeviceSpec {
            id: ContentId::try_from(id).ok()?,
            size_bytes: self.0.u64(at + SIZE_AT).load(Relaxed),
            block_bytes: self.0.u32(at + BLOCK_AT).load(Relaxed),
        };
        Some(Entry {
            index,
            spec,
            raw: self.0.u32(at + RAW_AT).load(Relaxed) as RawFd,
            map: self.0.u32(at + MAP_AT).load(Relaxed) as RawFd,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found_until_it_is_removed() {
        let table = HeldTable::create().unwrap();
        let file = tempfile::tempfile().unwrap();
        let id = ContentId::try_from("ab".repeat(32)).unwrap();
        let spec = DeviceSpec { id, size_bytes: 8192, block_bytes: 4096 };
        assert_eq!(table.free_index().unwrap(), 1);
        table.put(1, &spec, &file, &file);
        assert_eq!(table.free_index().unwrap(), 2);
        let [entry] = &table.entries()[..] else { panic!("one entry") };
        assert_eq!((entry.index, &entry.spec, entry.raw), (1, &spec, file.as_raw_fd()));
        table.remove(1);
        assert!(!table.is_held(1) && !table.is_held(MAX_DEVICES));
    }
}
