//! Devices as files that we serve: a reader whose blocks are here is answered at once, any other when they are.

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::answers::ReaderKey;
use super::devices::Device;
use super::filler::Filler;
use crate::content::ContentFile;
use crate::error::{Code, Context, Result};
use crate::fuse::abi::{LEAST_BUFFER_BYTES, ROOT};
use crate::fuse::connection::{Connection, Received};
use crate::fuse::pending::Ticket;
use crate::fuse::reply::{self, Node};
use crate::fuse::request::{self, Call, Header};
use crate::ids::ContentId;
use crate::journal::now_ms;
use crate::mount::{self, table};

/// So many read from the disk at the same time: eight random readers of a cold file got 20,000 reads a second from one, 49,000 from two and
/// 52,000 from four.
const SERVERS: usize = 4;

/// How often it is looked whether there is a slot again.
const FULL_PAUSE: Duration = Duration::from_millis(1);

pub struct Serving {
    mount_point: PathBuf,
    connection: RwLock<Option<Arc<Connection>>>,
}

impl Serving {
    pub fn at(mount_point: PathBuf) -> Self {
        Self { mount_point, connection: RwLock::new(None) }
    }

    pub fn connection(&self) -> Option<Arc<Connection>> {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, connection: Option<Arc<Connection>>) {
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }
}

impl Filler {
    /// Mounts the files, unless they are.
    pub fn serve(self: &Arc<Self>) -> Result<()> {
        if self.is_serving() {
            return Ok(());
        }
        let path = &self.serving.mount_point;
        fs::create_dir_all(path).context(|| format!("making {}", path.display()))?;
        let connection = Connection::open()?;
        // First kept, then mounted: there is no moment at which only this process has it.
        self.holding.keep_connection(&connection)?;
        let mounted =
            mount::fuse::mount(connection.device()).and_then(|fuse| mount::attach(fuse.as_fd(), path));
        if mounted.is_err() {
            self.holding.drop_connection()?;
            return mounted;
        }
        self.start_servers(connection)
    }

    pub fn is_serving(&self) -> bool {
        self.serving.connection().is_some()
    }

    /// Goes on with what an earlier worker has mounted, and answers what it had read.
    pub(super) fn serve_on(self: &Arc<Self>, connection: Connection) -> Result<()> {
        if !table::mounts()?.contains_key(&self.serving.mount_point) {
            return self.holding.drop_connection();
        }
        self.start_servers(connection)
    }

    fn start_servers(self: &Arc<Self>, connection: Connection) -> Result<()> {
        let connection = Arc::new(connection);
        self.serving.set(Some(Arc::clone(&connection)));
        for ticket in connection.pending.in_use() {
            if let Some(done) = self.handle(&connection, ticket) {
                connection.pending.free(done);
            }
        }
        for _ in 0..SERVERS {
            let (filler, connection) = (Arc::clone(self), Arc::clone(&connection));
            thread::Builder::new()
                .name("requests".into())
                .spawn(move || filler.take_requests(&connection))
                .context(|| "starting a thread for requests".into())?;
        }
        Ok(())
    }

    /// The device as a file that we serve.
    pub fn served(&self, id: &ContentId) -> Result<ContentFile> {
        let path = self.served_path(id);
        let file = File::open(&path).context(|| format!("opening {}", path.display()))?;
        Ok(ContentFile { file, id: id.clone(), is_served: true })
    }

    pub fn served_path(&self, id: &ContentId) -> PathBuf {
        self.serving.mount_point.join(id.as_str())
    }

    /// Unmounts the files, unless somebody uses one.
    pub fn stop_serving(&self) -> Result<()> {
        match mount::detach(&self.serving.mount_point) {
            Err(error) if error.code == Code::Busy => return Ok(()),
            outcome => outcome?,
        }
        self.serving.set(None);
        self.refuse_readers(|key, _| matches!(key, ReaderKey::Request(_)));
        self.holding.drop_connection()
    }

    fn take_requests(&self, connection: &Connection) {
        let mut rest = [0; LEAST_BUFFER_BYTES];
        let mut slot = None;
        loop {
            let Some(ticket) = slot.take().or_else(|| connection.pending.claim()) else {
                thread::sleep(FULL_PAUSE);
                continue;
            };
            slot = match connection.receive(ticket, &mut rest) {
                Ok(Received::Request) => self.handle(connection, ticket),
                Ok(Received::Nothing) => {
                    let _ = poll(&mut [PollFd::new(connection.device(), PollFlags::IN)], None);
                    Some(ticket)
                }
                Ok(Received::Ended) => return,
                Err(error) => {
                    tracing::error!(%error, "no request can be read for now");
                    thread::sleep(FULL_PAUSE);
                    Some(ticket)
                }
            };
        }
    }

    /// Gives the slot back where the request is answered.
    fn handle(&self, connection: &Connection, ticket: Ticket) -> Option<Ticket> {
        let bytes = connection.pending.request(ticket);
        let Some(header) = request::header(&bytes) else { return Some(ticket) };
        let answer = match request::call(&header, &bytes) {
            Call::Read { offset, size_bytes } => {
                return self.handle_read(connection, ticket, &header, offset, size_bytes);
            }
            Call::Forget => return connection.pending.renew(ticket),
            Call::Init { major, minor, max_readahead_bytes } => {
                reply::init(major, minor, max_readahead_bytes).ok_or(libc::EPROTO)
            }
            Call::Lookup { name } => self.look_up(header.node, name).map(reply::entry),
            Call::Attributes => self.node(header.node).map(reply::attributes),
            Call::Statistics => Ok(reply::statistics()),
            Call::Granted => Ok(Vec::new()),
            Call::Unsupported => Err(libc::ENOSYS),
            Call::Malformed => Err(libc::EINVAL),
        };
        send(connection, &header, answer.as_deref().map_err(|errno| *errno));
        connection.pending.renew(ticket)
    }

    fn look_up(&self, directory: u64, name: &str) -> std::result::Result<Node, i32> {
        let id = Some(name)
            .filter(|_| directory == ROOT)
            .and_then(|name| ContentId::try_from(name.to_owned()).ok());
        let device = id.and_then(|id| self.devices().of_id(&id));
        device.map(|device| node_of(&device)).ok_or(libc::ENOENT)
    }

    fn node(&self, number: u64) -> std::result::Result<Node, i32> {
        if number == ROOT {
            return Ok(Node { number, size_bytes: 0 });
        }
        self.devices().of_node(number).map(|device| node_of(&device)).ok_or(libc::ESTALE)
    }

    fn handle_read(
        &self,
        connection: &Connection,
        ticket: Ticket,
        header: &Header,
        offset: u64,
        size_bytes: u32,
    ) -> Option<Ticket> {
        let device = self.devices().of_node(header.node);
        let device = device.filter(|_| size_bytes <= reply::MAX_READ_BYTES);
        let is_here = device.as_ref().is_some_and(|device| has_all(device, offset, size_bytes));
        if let Some(device) = device.as_ref().filter(|device| device.touch(offset, size_bytes.into())) {
            self.holding.touches.record(device.index, offset, size_bytes, is_here);
        }
        match device {
            Some(device) if !is_here => {
                let since_ms = connection.pending.waits_since(ticket, now_ms());
                self.wait(ReaderKey::Request(ticket), &device, offset, size_bytes.into(), since_ms);
                None
            }
            device => {
                answer_read(connection, header, device.as_deref(), offset, size_bytes);
                connection.pending.renew(ticket)
            }
        }
    }

    /// Answers a reader that has waited: with bytes only where they are here, whoever says so.
    pub(super) fn answer(&self, ticket: Ticket, allow: bool) {
        let Some(connection) = self.serving.connection() else { return };
        let bytes = connection.pending.request(ticket);
        let Some(header) = request::header(&bytes).filter(|_| connection.pending.is_current(ticket)) else {
            return;
        };
        match request::call(&header, &bytes) {
            Call::Read { offset, size_bytes } if allow => {
                let device = self.devices().of_node(header.node);
                answer_read(&connection, &header, device.as_deref(), offset, size_bytes);
            }
            _ => send(&connection, &header, Err(libc::EIO)),
        }
        connection.pending.free(ticket);
    }
}

fn node_of(device: &Device) -> Node {
    Node { number: device.node(), size_bytes: device.spec.size_bytes }
}

fn has_all(device: &Device, offset: u64, size_bytes: u32) -> bool {
    device.map.has_all(device.map.shape().blocks_of(offset, size_bytes.into()))
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// All bytes or an error: the kernel would take fewer for the end of the file. Source: `fuse_short_read` in fs/fuse/file.c.
fn answer_read(
    connection: &Connection,
    header: &Header,
    device: Option<&Device>,
    offset: u64,
    size_bytes: u32,
) {
    BUFFER.with_borrow_mut(|buffer| {
        let read = device.map_or(Err(libc::ESTALE), |device| {
            let end = offset.saturating_add(size_bytes.into()).min(device.spec.size_bytes);
            let length = end.saturating_sub(offset) as usize;
            buffer.resize(length.max(buffer.len()), 0);
            let bytes = &mut buffer[..length];
            if !has_all(device, offset, size_bytes) {
                return Err(libc::EIO);
            }
            match device.raw.read_exact_at(bytes, offset) {
                Ok(()) => Ok(&*bytes),
                Err(error) => {
                    tracing::error!(device = device.name(), offset, %error, "a read fails: the device's file can't be read");
                    Err(libc::EIO)
                }
            }
        });
        send(connection, header, read);
    });
}

fn send(connection: &Connection, header: &Header, outcome: std::result::Result<&[u8], i32>) {
    if let Err(error) = connection.answer(header.unique, outcome) {
        tracing::error!(opcode = header.opcode, %error, "a request is not answered");
    }
}
