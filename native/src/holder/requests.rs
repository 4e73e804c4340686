//! The holder's part of FUSE: it keeps the connection while there is no worker, and gives errors to whoever would wait for one too long.
//! Of what the kernel asks it looks at no more than the header.

use std::collections::HashMap;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fuse::abi::{LEAST_BUFFER_BYTES, opcode};
use crate::fuse::connection::{Connection, Received};
use crate::fuse::pending::Ticket;
use crate::fuse::request;

/// For what the worker answers at once, whatever is missing: it is dead or stuck. It may be that it can't end before it has an answer to a
/// question of its own.
const PATIENCE_MS: u64 = 2_000;

/// Requests in a row before anything else is looked at.
const REQUESTS_IN_A_ROW: usize = 256;

pub struct Requests {
    connection: Connection,
    /// When each request was seen first.
    seen: HashMap<Ticket, u64>,
    /// Since when requests wait in the kernel's queue and none is taken, and how many had been.
    stalled: Option<(u64, u64)>,
}

impl Requests {
    pub fn of(connection: Connection) -> Self {
        Self { connection, seen: HashMap::new(), stalled: None }
    }

    /// Leaves the descriptors open.
    pub fn forget(self) {
        self.connection.forget();
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Gives errors to readers that wait for longer than `patience_ms`.
    pub fn refuse_overdue(&mut self, now_ms: u64, patience_ms: u64) {
        let pending = &self.connection.pending;
        let mut seen = HashMap::new();
        for ticket in pending.in_use() {
            let Some(header) = request::header(&pending.request(ticket)) else { continue };
            let since_ms = self.seen.get(&ticket).copied().unwrap_or(now_ms);
            let patience_ms = if header.opcode == opcode::READ { patience_ms } else { PATIENCE_MS };
            if now_ms.saturating_sub(since_ms) <= patience_ms {
                seen.insert(ticket, since_ms);
            } else if pending.is_current(ticket) {
                tracing::warn!(
                    opcode = header.opcode,
                    node = header.node,
                    "a request is refused: nobody has answered it"
                );
                self.refuse(ticket, &header);
                pending.free(ticket);
            }
        }
        self.seen = seen;
    }

    /// Whether requests wait in the kernel's queue for longer than `patience_ms`, while nobody takes any.
    pub fn are_stalled(&mut self, now_ms: u64, patience_ms: u64) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut asked = [PollFd::new(self.connection.device(), PollFlags::IN)];
        let waits = poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().contains(PollFlags::IN);
        let taken = self.connection.pending.taken();
        let before = self.stalled.filter(|(_, taken_before)| *taken_before == taken);
        self.stalled = waits.then(|| before.unwrap_or((now_ms, taken)));
        self.stalled.is_some_and(|(since_ms, _)| now_ms.saturating_sub(since_ms) > patience_ms)
    }

    /// Reads what waits in the kernel's queue, since nobody else does, and refuses it.
    pub fn refuse_all(&mut self) {
        self.refuse_queue();
        // What this process takes is no sign of life.
        self.stalled = self.stalled.map(|(since_ms, _)| (since_ms, self.connection.pending.taken()));
    }

    fn refuse_queue(&self) {
        let pending = &self.connection.pending;
        let Some(mut ticket) = pending.claim() else { return };
        let mut rest = [0; LEAST_BUFFER_BYTES];
        for _ in 0..REQUESTS_IN_A_ROW {
            match self.connection.receive(ticket, &mut rest) {
                Ok(Received::Request) => {}
                Ok(Received::Nothing | Received::Ended) => break,
                Err(error) => {
                    tracing::error!(%error, "no request can be read for now");
                    break;
                }
            }
            if let Some(header) = request::header(&pending.request(ticket)) {
                self.refuse(ticket, &header);
            }
            match pending.renew(ticket) {
                Some(renewed) => ticket = renewed,
                None => return,
            }
        }
        pending.free(ticket);
    }

    fn refuse(&self, ticket: Ticket, header: &request::Header) {
        if matches!(header.opcode, opcode::FORGET | opcode::BATCH_FORGET) {
            return;
        }
        if let Err(error) = self.connection.answer(header.unique, Err(libc::EIO)) {
            tracing::error!(?ticket, %error, "a request is not answered");
        }
    }
}
