//! Which blocks of a device are here: a file that the worker writes, and that the holder reads to answer for blocks that are
//! present without asking anybody. It lies beside the mount points, so that a volume is filled on after a reboot from where it was.
//!
//! ```text
//! 0     header
//! 4096  a byte a block: missing, present (in the page cache), durable (on the disk)
//! …     from the next multiple of 8 on: a checksum a block, of its raw bytes
//! ```

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::fs::{AtFlags, FallocateFlags, StatxFlags, fallocate, statx};

use super::shape::Shape;
use crate::error::{Code, Context, Error, Result};
use crate::memory::{Access, Mapping};

const MAGIC: u64 = u64::from_le_bytes(*b"DKMAP\0\0\x01");
const STATES_AT: usize = 4096;

/// Offsets in the header.
const MAGIC_AT: usize = 0;
const SIZE_AT: usize = 8;
const BLOCK_AT: usize = 16;
const CLEAN_AT: usize = 20;
const INODE_AT: usize = 24;
const BORN_AT: usize = 32;
const BOOT_AT: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Presence {
    Missing = 0,
    /// Written, and not yet known to be on the disk.
    Present = 1,
    Durable = 2,
}

pub struct PresenceMap {
    shape: Shape,
    memory: Mapping,
}

impl PresenceMap {
    fn states_at(block: u32) -> usize {
        STATES_AT + block as usize
    }

    fn checksum_at(&self, block: u32) -> usize {
        (STATES_AT + self.shape.blocks() as usize).next_multiple_of(8) + 8 * block as usize
    }

    fn length(shape: Shape) -> usize {
        (STATES_AT + shape.blocks() as usize).next_multiple_of(8) + 8 * shape.blocks() as usize
    }

    /// Opens the map of a raw file, or makes one in which everything is missing: also where the map is another file's, which had the
    /// same name before, or no map at all.
    pub fn open(path: &Path, raw: &File, shape: Shape) -> Result<(File, Self)> {
        let doing = || format!("opening the map {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .context(doing)?;
        let identity = Identity::of(raw)?;
        if !Self::is_of(&file, &identity, shape) {
            file.set_len(0).context(doing)?;
            // A page of a mapped file for which the disk has no room would end the process.
            fallocate(&file, FallocateFlags::empty(), 0, Self::length(shape) as u64).context(doing)?;
            let memory = Mapping::of(&file, Access::Write)?;
            memory.u64(SIZE_AT).store(shape.size_bytes(), Relaxed);
            memory.u32(BLOCK_AT).store(shape.block_bytes(), Relaxed);
            memory.u64(INODE_AT).store(identity.inode, Relaxed);
            memory.u64(BORN_AT).store(identity.born_ns, Relaxed);
            memory.u64(BOOT_AT).store(boot_id(), Relaxed);
            memory.u64(MAGIC_AT).store(MAGIC, Release);
        }
        let map = Self { shape, memory: Mapping::of(&file, Access::Write)? };
        Ok((file, map))
    }

    /// Maps what a worker has opened, to look at.
    pub fn view(file: &File, shape: Shape) -> Result<Self> {
        Self::mapped(file, shape, Access::Read)
    }

    /// The same to go on filling.
    pub fn writable(file: &File, shape: Shape) -> Result<Self> {
        Self::mapped(file, shape, Access::Write)
    }

    fn mapped(file: &File, shape: Shape, access: Access) -> Result<Self> {
        let memory = Mapping::of(file, access)?;
        if memory.len() != Self::length(shape) {
            return Err(Error::new(
                Code::InvalidContent,
                "the map of a device has another length than the device",
            ));
        }
        Ok(Self { shape, memory })
    }

    fn is_of(file: &File, identity: &Identity, shape: Shape) -> bool {
        let mut header = [0u8; 64];
        let read = file.read_exact_at(&mut header, 0);
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| header[at + index]));
        read.is_ok()
            && file.metadata().is_ok_and(|metadata| metadata.len() == Self::length(shape) as u64)
            && number(MAGIC_AT) == MAGIC
            && number(SIZE_AT) == shape.size_bytes()
            && number(BLOCK_AT) as u32 == shape.block_bytes()
            && number(INODE_AT) == identity.inode
            && number(BORN_AT) == identity.born_ns
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Blocks that there are not are not here.
    pub fn has(&self, block: u32) -> bool {
        block < self.shape.blocks()
            && self.memory.u8(Self::states_at(block)).load(Acquire) != Presence::Missing as u8
    }

    pub fn has_all(&self, mut blocks: std::ops::Range<u32>) -> bool {
        blocks.all(|block| self.has(block))
    }

    pub fn present(&self) -> u32 {
        (0..self.shape.blocks()).filter(|block| self.has(*block)).count() as u32
    }

    /// The bytes of a block have been written.
    pub fn filled(&self, block: u32, checksum: u64) {
        self.memory.u64(self.checksum_at(block)).store(checksum, Relaxed);
        self.memory.u32(CLEAN_AT).store(0, Relaxed);
        self.memory.u8(Self::states_at(block)).store(Presence::Present as u8, Release);
    }

    fn set(&self, block: u32, presence: Presence) {
        self.memory.u8(Self::states_at(block)).store(presence as u8, Release);
    }

    /// Nothing is here any more.
    pub fn clear(&self) {
        for block in 0..self.shape.blocks() {
            self.set(block, Presence::Missing);
        }
    }

    /// Everything that is present now is on the disk when this returns, and the map says so.
    pub fn settle(&self, raw: &File) -> Result<()> {
        let fresh: Vec<u32> = (0..self.shape.blocks())
            .filter(|block| self.memory.u8(Self::states_at(*block)).load(Acquire) == Presence::Present as u8)
            .collect();
        if fresh.is_empty() && self.memory.u32(CLEAN_AT).load(Relaxed) == 1 {
            return Ok(());
        }
        raw.sync_data().context(|| "syncing a device".into())?;
        for block in fresh {
            self.set(block, Presence::Durable);
        }
        self.memory.u32(CLEAN_AT).store(1, Relaxed);
        self.memory.sync()
    }

    /// After another boot the page cache is gone, and with it, perhaps, what was not on the disk yet: every block is compared with its
    /// checksum, unless the last stop was an orderly one. Gives the number of blocks that turned out not to be here.
    pub fn verify(&self, raw: &File) -> Result<u32> {
        let boot = self.memory.u64(BOOT_AT);
        if boot.load(Relaxed) == boot_id() {
            return Ok(0);
        }
        if self.memory.u32(CLEAN_AT).load(Relaxed) == 1 {
            boot.store(boot_id(), Relaxed);
            return Ok(0);
        }
        let mut buffer = vec![0u8; self.shape.block_bytes() as usize];
        let mut lost = 0;
        for block in (0..self.shape.blocks()).filter(|block| self.has(*block)) {
            let bytes = &mut buffer[..self.shape.length_of(block)];
            let read = raw.read_exact_at(bytes, self.shape.bytes_of(block).start);
            if read.is_err() || checksum(bytes) != self.memory.u64(self.checksum_at(block)).load(Relaxed) {
                self.set(block, Presence::Missing);
                lost += 1;
            }
        }
        // Whoever is killed before that begins anew.
        boot.store(boot_id(), Release);
        Ok(lost)
    }
}

/// Of a block as it lies on the device. It finds what a power cut has torn; what is right in the first place, the pieces' sha256 say.
pub fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Tells a file from another that had its name, and perhaps its inode, before.
struct Identity {
    inode: u64,
    born_ns: u64,
}

impl Identity {
    fn of(file: &File) -> Result<Self> {
        let doing = || "examining a device".to_owned();
        let inode = file.metadata().context(doing)?.ino();
        let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME).context(doing)?;
        let born = found.stx_btime;
        let born_ns = (born.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(u64::from(born.tv_nsec));
        Ok(Self { inode, born_ns })
    }
}

/// The first half of the kernel's name for this boot.
fn boot_id() -> u64 {
    let mut text = String::new();
    let read =
        File::open("/proc/sys/kernel/random/boot_id").and_then(|mut file| file.read_to_string(&mut text));
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    read.ok().and_then(|_| u64::from_str_radix(&digits, 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(directory: &Path, blocks: u64) -> (File, Shape) {
        let raw = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(directory.join("raw"))
            .unwrap();
        raw.set_len(blocks * 4096).unwrap();
        (raw, Shape::new(blocks * 4096, 4096).unwrap())
    }

    #[test]
    fn what_is_here_survives_and_is_seen_by_others() {
        let directory = tempfile::tempdir().unwrap();
        let (file, shape) = raw(directory.path(), 5);
        let path = directory.path().join("map");
        let (shared, map) = PresenceMap::open(&path, &file, shape).unwrap();
        let view = PresenceMap::view(&shared, shape).unwrap();
        map.filled(3, 7);
        assert!(view.has(3) && !view.has(2) && !view.has(5) && !view.has_all(3..5));
        drop(map);
        let (_, again) = PresenceMap::open(&path, &file, shape).unwrap();
        assert_eq!(again.present(), 1);
    }

    #[test]
    fn the_map_of_another_file_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, shape) = raw(directory.path(), 5);
        let path = directory.path().join("map");
        PresenceMap::open(&path, &file, shape).unwrap().1.filled(1, 1);
        std::fs::remove_file(directory.path().join("raw")).unwrap();
        drop(file);
        let (other, shape) = raw(directory.path(), 5);
        assert_eq!(PresenceMap::open(&path, &other, shape).unwrap().1.present(), 0);
        std::fs::write(&path, b"no map").unwrap();
        assert_eq!(PresenceMap::open(&path, &other, shape).unwrap().1.present(), 0);
    }

    #[test]
    fn after_another_boot_what_is_torn_is_missing_again() {
        let directory = tempfile::tempdir().unwrap();
        let (file, shape) = raw(directory.path(), 3);
        let path = directory.path().join("map");
        let (_, map) = PresenceMap::open(&path, &file, shape).unwrap();
        for block in 0..2 {
            file.write_all_at(&[1; 4096], shape.bytes_of(block).start).unwrap();
            map.filled(block, checksum(&[1; 4096]));
        }
        map.memory.u64(BOOT_AT).store(1, Relaxed);
        file.write_all_at(&[0; 4096], 4096).unwrap();
        assert_eq!(map.verify(&file).unwrap(), 1);
        assert!(map.has(0) && !map.has(1));
        map.settle(&file).unwrap();
        map.memory.u64(BOOT_AT).store(1, Relaxed);
        assert_eq!(map.verify(&file).unwrap(), 0);
    }
}
