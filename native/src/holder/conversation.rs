//! The holder's end of the conversation with the worker.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::{SocketFlags, accept_with};

use super::link::{self, Link, ToHolder, ToWorker};
use super::requests::Requests;
use super::{Holder, own};
use crate::error::{Code, Context, Error, Result};
use crate::fuse::connection::Connection;
use crate::journal::now_ms;

impl Holder {
    /// The last one to come is the worker.
    pub(super) fn greet(&mut self) {
        let accepted =
            accept_with(&self.listener, SocketFlags::CLOEXEC).context(|| "greeting a worker".into());
        match accepted.and_then(|socket| own(&socket)) {
            Ok(socket) => self.set_worker(Some(Link::of(socket))),
            Err(error) => tracing::warn!(%error, "a worker was not greeted"),
        }
    }

    pub(super) fn set_worker(&mut self, worker: Option<Link>) {
        self.table.set_worker(worker.as_ref().map(|link| link.descriptor().as_raw_fd()));
        if worker.is_some() {
            self.refused_ms = 0;
        }
        self.left_ms = if worker.is_some() { None } else { self.left_ms.or(Some(now_ms())) };
        self.worker = worker;
    }

    /// `true` when this process is to end.
    pub(super) fn listen(&mut self) -> bool {
        let Some(worker) = self.worker.take() else { return false };
        let said = self.obey(&worker);
        if let Err(error) = &said {
            tracing::warn!(%error, "a worker is left");
        }
        let stays = matches!(said, Ok(Some(_)));
        self.set_worker(stays.then_some(worker));
        matches!(said, Ok(Some(true)))
    }

    /// `None` when the worker has gone; `true` when there is nothing more to do.
    fn obey(&mut self, worker: &Link) -> Result<Option<bool>> {
        let Some((message, descriptors)) = worker.receive::<ToHolder>()? else { return Ok(None) };
        match message {
            ToHolder::Hello { version: _, deadline_ms } => {
                self.table.set_deadline_ms(deadline_ms);
                self.welcome(worker)?;
            }
            ToHolder::Adopt { .. } => {
                return Err(Error::new(Code::InvalidArgument, "this holder holds already"));
            }
            ToHolder::Find { from } => match self.devices.range(from..).next() {
                Some((index, held)) => {
                    let found = ToWorker::Held { index: *index, spec: held.spec.clone() };
                    worker.send(&found, &[held.raw.as_fd(), held.map_file.as_fd()])?;
                }
                None => worker.send(&ToWorker::Done, &[])?,
            },
            ToHolder::Hold { spec, index } => {
                let [raw, map] = link::exactly(descriptors)?;
                // Asked again by who has not heard the answer of a holder that has died.
                let known = self.devices.iter().find(|(_, held)| held.spec == spec).map(|(index, _)| *index);
                let index = known.or(index).map_or_else(|| self.table.free_index(), Ok)?;
                if known.is_none() {
                    let (raw, map) = (File::from(own(&raw)?), File::from(own(&map)?));
                    self.table.put(index, &spec, &raw, &map);
                    self.keep(index, spec.clone(), raw, map)?;
                }
                worker.send(&ToWorker::Held { index, spec }, &[])?;
            }
            ToHolder::Release { index } => {
                self.table.remove(index);
                self.devices.remove(&index);
                self.by_file.retain(|_, other| *other != index);
                worker.send(&ToWorker::Done, &[])?;
            }
            ToHolder::KeepConnection => {
                let [device, pending] = link::exactly(descriptors)?;
                let connection = Connection::of(own(&device)?, own(&pending)?)?;
                self.table.set_connection(Some(connection.descriptors()));
                self.requests = Some(Requests::of(connection));
                worker.send(&ToWorker::Done, &[])?;
            }
            ToHolder::FindConnection => match &self.requests {
                Some(requests) => worker.send(&ToWorker::Connection, &requests.connection().files())?,
                None => worker.send(&ToWorker::Done, &[])?,
            },
            ToHolder::DropConnection => {
                self.table.set_connection(None);
                self.requests = None;
                worker.send(&ToWorker::Done, &[])?;
            }
            ToHolder::Goodbye => return Ok(Some(self.holds_nothing())),
        }
        Ok(Some(false))
    }

    pub(super) fn welcome(&self, worker: &Link) -> Result<()> {
        let welcome = ToWorker::Welcome { version: link::VERSION, pid: std::process::id() };
        let (journal, touches) = (self.journal_file.as_fd(), self.touches_file.as_fd());
        let common =
            [self.group.file().as_fd(), journal, touches, self.wake_holder.as_fd(), self.wake_worker.as_fd()];
        worker.send(&welcome, &common)
    }
}
