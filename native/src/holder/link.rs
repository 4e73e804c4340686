//! What worker and holder say to each other: few and short messages, and descriptors. Events are not among them; those stand in the journal.
//! Both ends are this program, as root; still each message has one shape, and a length.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, recvmsg,
    sendmsg, socket_with,
};
use serde::{Deserialize, Serialize};

use crate::device::spec::DeviceSpec;
use crate::error::{Code, Context, Error, Result};

/// Of both sides. A worker that finds a holder of another version has it hand over to one of its own.
pub const VERSION: u32 = 1;

const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Source: `SCM_MAX_FD` in include/net/scm.h is 253.
const MAX_DESCRIPTORS: usize = 8;
const BACKLOG: i32 = 8;

/// What the worker asks for. Each is answered once, so that the holder never waits for a worker that does not listen.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "camelCase")]
pub enum ToHolder {
    /// The first message. Answered with [`ToWorker::Welcome`].
    Hello { version: u32, deadline_ms: u64 },
    /// The first message to a holder that takes the place of one that has died with its twin. With what a welcome brings.
    Adopt { version: u32, deadline_ms: u64 },
    /// The first device from this number on: answered with [`ToWorker::Held`], or with [`ToWorker::Done`] where there is none.
    Find { from: u32 },
    /// With the raw file, opened before it was marked, and the map. Answered with [`ToWorker::Held`].
    Hold { spec: DeviceSpec, index: Option<u32> },
    /// Nobody reads it any more, or the kernel does so without us. Answered with [`ToWorker::Done`].
    Release { index: u32 },
    /// The worker ends, and so does a holder that holds nothing. Not answered.
    Goodbye,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase")]
pub enum ToWorker {
    /// With the group, the journal, the log of touches, and what wakes the holder and the worker.
    Welcome {
        version: u32,
        pid: u32,
    },
    /// With the raw file and the map, where they were asked for.
    Held {
        index: u32,
        spec: DeviceSpec,
    },
    Done,
}

/// A connection that keeps messages apart.
pub struct Link(OwnedFd);

pub fn listen_at(path: &Path) -> Result<OwnedFd> {
    let doing = || format!("listening on {}", path.display());
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).context(doing)?;
    let address = SocketAddrUnix::new(path).context(doing)?;
    bind(&socket, &address).context(doing)?;
    listen(&socket, BACKLOG).context(doing)?;
    Ok(socket)
}

impl Link {
    pub fn of(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// `None` where nobody listens.
    pub fn connect(path: &Path) -> Result<Option<Self>> {
        let doing = || format!("connecting to {}", path.display());
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .context(doing)?;
        let address = SocketAddrUnix::new(path).context(doing)?;
        match connect(&socket, &address) {
            Ok(()) => Ok(Some(Self(socket))),
            Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).context(doing),
        }
    }

    /// Leaves the connection open.
    pub fn forget(self) {
        let _ = self.0.into_raw_fd();
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let body = serde_json::to_vec(message)
            .map_err(|cause| Error::new(Code::Internal, format!("encoding a message: {cause}")))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Error::new(Code::Internal, "too many descriptors for one message"));
        }
        sendmsg(&self.0, &[IoSlice::new(&body)], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
            .context(|| "speaking to the other half of the helper".into())?;
        Ok(())
    }

    /// `None` where nothing comes in time, or the other side has gone.
    pub fn receive_within<T: serde::de::DeserializeOwned>(
        &self,
        patience: Duration,
    ) -> Result<Option<(T, Vec<OwnedFd>)>> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let patience =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&patience)) {
                Ok(0) => return Ok(None),
                Ok(_) => return self.receive(),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno).context(|| "waiting for an answer".into()),
            }
        }
    }

    /// `None` where the other side has gone.
    pub fn receive<T: serde::de::DeserializeOwned>(&self) -> Result<Option<(T, Vec<OwnedFd>)>> {
        let mut body = vec![0; MAX_MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&self.0, &mut [IoSliceMut::new(&mut body)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        let bytes = match received {
            Ok(message) => message.bytes,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(errno) => return Err(errno).context(|| "listening to the other half of the helper".into()),
        };
        if bytes == 0 {
            return Ok(None);
        }
        let descriptors = ancillary
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(rights) => rights.collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect();
        let message = serde_json::from_slice(&body[..bytes]).map_err(|cause| {
            Error::new(Code::InvalidArgument, format!("not a message of this protocol: {cause}"))
        })?;
        Ok(Some((message, descriptors)))
    }
}

/// The descriptors that a message must bring, in order.
pub fn exactly<const COUNT: usize>(descriptors: Vec<OwnedFd>) -> Result<[OwnedFd; COUNT]> {
    descriptors
        .try_into()
        .map_err(|_| Error::new(Code::InvalidArgument, "a message came without its descriptors"))
}
