//! What we answer, as bytes. Pure. What we say stays true for ever, since devices never change: the kernel need not ask twice.

use super::abi::{self, OUT_HEADER_BYTES, ROOT, init};
use super::pending::SLOTS;
use crate::content::BLOCK_BYTES;

/// The largest read: two blocks of a snapshot of the usual size. Source: `FUSE_DEFAULT_MAX_PAGES_LIMIT`, 256 pages, in fs/fuse/inode.c.
pub const MAX_READ_BYTES: u32 = 1024 * 1024;

/// Reads ahead that may be under way. Each may wait for what is missing, and must not keep others from what is here; there is room for
/// as many, and for a quarter as many that somebody waits for.
const MAX_BACKGROUND: u16 = (SLOTS / 4 * 3) as u16;
/// From so many on nothing is read ahead that nobody needs yet.
const CONGESTION: u16 = (SLOTS / 2) as u16;

/// Nothing is ever written; the kernel wants to be told a number all the same. Source: `process_init_reply` in fs/fuse/inode.c.
const MAX_WRITE_BYTES: u32 = 4096;

const SECONDS_VALID: u64 = 1_000_000_000;
const DIRECTORY: u32 = libc::S_IFDIR | 0o500;
const REGULAR: u32 = libc::S_IFREG | 0o400;

/// What stands before the body of every answer: `struct fuse_out_header`. `errno` is 0, or a number as errno(3) has it.
pub fn header(unique: u64, errno: i32, body_bytes: usize) -> [u8; OUT_HEADER_BYTES] {
    let mut bytes = [0; OUT_HEADER_BYTES];
    bytes[0..4].copy_from_slice(&((OUT_HEADER_BYTES + body_bytes) as u32).to_ne_bytes());
    bytes[4..8].copy_from_slice(&(-errno).to_ne_bytes());
    bytes[8..16].copy_from_slice(&unique.to_ne_bytes());
    bytes
}

/// A file or the directory that has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    pub number: u64,
    pub size_bytes: u64,
}

/// `struct fuse_init_out`. `None` where the kernel is too old, or of another age.
pub fn init(major: u32, minor: u32, max_readahead_bytes: u32) -> Option<Vec<u8>> {
    if major != abi::MAJOR || minor < abi::LEAST_MINOR {
        return None;
    }
    let flags = init::ASYNC_READ
        | init::ASYNC_DIO
        | init::NO_OPEN_SUPPORT
        | init::MAX_PAGES
        | init::EXPLICIT_INVAL_DATA;
    let mut bytes = Vec::with_capacity(64);
    for word in [abi::MAJOR, minor.min(abi::MINOR), max_readahead_bytes, flags] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    for half in [MAX_BACKGROUND, CONGESTION] {
        bytes.extend_from_slice(&half.to_ne_bytes());
    }
    let time_granularity_ns = 1u32;
    for word in [MAX_WRITE_BYTES, time_granularity_ns] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(&((u64::from(MAX_READ_BYTES) / BLOCK_BYTES) as u16).to_ne_bytes());
    bytes.resize(64, 0);
    Some(bytes)
}

/// `struct fuse_entry_out`.
pub fn entry(node: Node) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    let generation = 0;
    for word in [node.number, generation, SECONDS_VALID, SECONDS_VALID, 0] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(&attributes_of(node));
    bytes
}

/// `struct fuse_attr_out`.
pub fn attributes(node: Node) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(104);
    for word in [SECONDS_VALID, 0] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes.extend_from_slice(&attributes_of(node));
    bytes
}

/// `struct fuse_attr`.
fn attributes_of(node: Node) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(88);
    let (access_s, modification_s, change_s) = (0, 0, 0);
    for word in [node.number, node.size_bytes, node.size_bytes / 512, access_s, modification_s, change_s] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let (mode, links) = if node.number == ROOT { (DIRECTORY, 2) } else { (REGULAR, 1) };
    let (uid, gid, device, flags) = (0, 0, 0, 0);
    for word in [0, 0, 0, mode, links, uid, gid, device, BLOCK_BYTES as u32, flags] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// `struct fuse_statfs_out`: nothing is free.
pub fn statistics() -> Vec<u8> {
    let mut bytes = vec![0; 80];
    let (block_at, name_at, fragment_at) = (40, 44, 48);
    for (at, word) in [(block_at, BLOCK_BYTES as u32), (name_at, 64), (fragment_at, BLOCK_BYTES as u32)] {
        bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_lengths_that_the_kernel_wants() {
        let node = Node { number: 5, size_bytes: 8192 };
        assert_eq!(init(7, 40, 1).unwrap().len(), 64);
        assert_eq!(entry(node).len(), 128);
        assert_eq!(attributes(node).len(), 104);
        assert_eq!(statistics().len(), 80);
        assert_eq!(header(3, libc::EIO, 0), header(3, 5, 0));
        assert_eq!(header(3, 5, 0)[4..8], (-5i32).to_ne_bytes());
    }

    #[test]
    fn a_kernel_of_another_age_is_not_answered() {
        assert!(init(8, 40, 1).is_none() && init(7, 27, 1).is_none());
    }
}
