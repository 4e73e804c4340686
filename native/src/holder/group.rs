//! The fanotify group: the kernel asks it before anybody reads a marked file. Source: include/uapi/linux/fanotify.h and
//! fs/notify/fanotify/fanotify_user.c.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use crate::error::{Context, Result};
use crate::journal::EVENT_BYTES;

const FAN_PRE_ACCESS: u64 = 0x0010_0000;
const FAN_EVENT_INFO_TYPE_RANGE: u8 = 6;
const METADATA_VERSION: u8 = 3;
const METADATA_BYTES: usize = 24;
const RANGE_BYTES: usize = 24;

/// Whoever holds a copy keeps readers waiting: when the last one is closed, the kernel lets everybody through.
pub struct Group(File);

/// A reader that the kernel has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Descriptor of the file that is read, and the event's name in the answer.
    pub number: i32,
    /// `None` where the kernel does not say which bytes.
    pub range: Option<(u64, u64)>,
}

impl Group {
    /// Without limits of queue and marks: at the former's the kernel would let readers through.
    pub fn create() -> Result<Self> {
        let flags = libc::FAN_CLASS_PRE_CONTENT
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_UNLIMITED_MARKS;
        let event_flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE;
        // SAFETY: takes two numbers, returns a descriptor.
        let group = unsafe { libc::fanotify_init(flags, event_flags as u32) };
        let group = checked(group).context(|| "making a group of fanotify".into())?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { File::from_raw_fd(group) }))
    }

    /// Where the kernel has no such groups, a descriptor stands in for one: no event ever comes from it, and marks are refused.
    pub fn create_or_stand_in() -> Result<Self> {
        Self::create().or_else(|_| {
            let stand_in = rustix::event::eventfd(
                0,
                rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
            );
            stand_in.context(|| "making an event descriptor".into()).map(Self::of)
        })
    }

    pub fn of(descriptor: OwnedFd) -> Self {
        Self(File::from(descriptor))
    }

    pub fn file(&self) -> &File {
        &self.0
    }

    /// From now on reading the file asks us first, but for descriptors that were opened before.
    pub fn mark(&self, file: &File) -> Result<()> {
        self.change(libc::FAN_MARK_ADD, file).context(|| "marking a device".into())
    }

    pub fn unmark(&self, file: &File) -> Result<()> {
        match self.change(libc::FAN_MARK_REMOVE, file) {
            // Nothing was marked; by what stands in for a group nothing ever is.
            Err(cause)
                if matches!(cause.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::ENOSYS)) =>
            {
                Ok(())
            }
            outcome => outcome.context(|| "taking the mark from a device".into()),
        }
    }

    fn change(&self, how: libc::c_uint, file: &File) -> io::Result<()> {
        // SAFETY: with a null path the mark goes to the descriptor, which is open.
        let answer = unsafe {
            libc::fanotify_mark(self.0.as_raw_fd(), how, FAN_PRE_ACCESS, file.as_raw_fd(), std::ptr::null())
        };
        checked(answer).map(drop)
    }

    /// Has the kernel write the next event into `buffer`. `false` where there is none.
    pub fn read_into(&self, buffer: NonNull<u8>) -> io::Result<bool> {
        // SAFETY: the caller's part of a mapping has this length and is written by nobody else meanwhile.
        let count = unsafe { libc::read(self.0.as_raw_fd(), buffer.as_ptr().cast(), EVENT_BYTES) };
        match checked(count as i32) {
            Ok(count) => Ok(count > 0),
            Err(cause) if matches!(cause.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    /// `false` where nobody waits under this number.
    pub fn answer(&self, number: i32, allow: bool) -> io::Result<bool> {
        let verdict = if allow { libc::FAN_ALLOW } else { libc::FAN_DENY };
        let mut response = [0; 8];
        response[..4].copy_from_slice(&number.to_ne_bytes());
        response[4..].copy_from_slice(&verdict.to_ne_bytes());
        match (&self.0).write(&response) {
            Ok(_) => Ok(true),
            Err(cause) if cause.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(cause) => Err(cause),
        }
    }
}

fn checked(answer: i32) -> io::Result<i32> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// What the kernel has written; `None` where that is no event of a reader.
pub fn parse(bytes: &[u8; EVENT_BYTES]) -> Option<Event> {
    let length = u32::from_ne_bytes(bytes[0..4].try_into().ok()?) as usize;
    let info_at = usize::from(u16::from_ne_bytes(bytes[6..8].try_into().ok()?));
    let mask = u64::from_ne_bytes(bytes[8..16].try_into().ok()?);
    let number = i32::from_ne_bytes(bytes[16..20].try_into().ok()?);
    if bytes[4] != METADATA_VERSION || !(METADATA_BYTES..=EVENT_BYTES).contains(&length) || number < 0 {
        return None;
    }
    let info = bytes.get(info_at..length)?;
    let range =
        (mask & FAN_PRE_ACCESS != 0 && info.len() >= RANGE_BYTES && info[0] == FAN_EVENT_INFO_TYPE_RANGE)
            .then(|| (number_at(info, 8), number_at(info, 16)));
    Some(Event { number, range })
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(number: i32, offset: u64, count: u64) -> [u8; EVENT_BYTES] {
        let mut bytes = [0; EVENT_BYTES];
        bytes[0..4].copy_from_slice(&48u32.to_ne_bytes());
        bytes[4] = METADATA_VERSION;
        bytes[6..8].copy_from_slice(&24u16.to_ne_bytes());
        bytes[8..16].copy_from_slice(&FAN_PRE_ACCESS.to_ne_bytes());
        bytes[16..20].copy_from_slice(&number.to_ne_bytes());
        bytes[24] = FAN_EVENT_INFO_TYPE_RANGE;
        bytes[32..40].copy_from_slice(&offset.to_ne_bytes());
        bytes[40..48].copy_from_slice(&count.to_ne_bytes());
        bytes
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(parse(&event(9, 4096, 512)), Some(Event { number: 9, range: Some((4096, 512)) }));
        assert_eq!(parse(&event(-1, 0, 1)), None);
        assert_eq!(parse(&[0; EVENT_BYTES]), None);
    }

    #[test]
    fn what_stands_in_for_a_group_marks_nothing_and_so_has_nothing_to_unmark() {
        let stand_in =
            rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).map(Group::of).unwrap();
        let file = tempfile::tempfile().unwrap();
        assert!(stand_in.mark(&file).is_err());
        stand_in.unmark(&file).unwrap();
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_none(bytes in prop::array::uniform32(any::<u8>()), more in prop::array::uniform32(any::<u8>())) {
            let mut all = [0; EVENT_BYTES];
            all[..32].copy_from_slice(&bytes);
            all[32..].copy_from_slice(&more);
            let _ = parse(&all);
        }
    }
}
