//! The socket: who may speak, and one thread a speaker.

use std::fs;
use std::io::Read;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::parent_id;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::net::sockopt::socket_peercred;
use rustix::process::umask;
use serde_json::{Value, json};

use crate::error::{Code, Context, Error, Result};
use crate::probe::probe;
use crate::service::{Layers, Service};
use crate::wire::{
    Answer, FillDevice, Hello, MAX_FRAME_BYTES, PROTOCOL_VERSION, RefuseBlocks, Request, Verb, parse_call,
    read_frame, write_frame,
};
use crate::worker::filling::Filling;

/// The daemon needs one connection; a few more serve tools. One too many is refused with a reason.
const MAX_CONNECTIONS: usize = 16;

/// How often it is looked whether who listens has left.
const LISTENER_CHECK: Duration = Duration::from_millis(500);

/// How long a caller that is refused may take to fall silent.
const PATIENCE: Duration = Duration::from_millis(200);

/// Binds the socket so that only `uid` can reach it. A stale socket file is replaced, anything else is left alone.
pub fn bind(socket: &Path, uid: u32) -> Result<UnixListener> {
    match fs::symlink_metadata(socket) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            if UnixStream::connect(socket).is_ok() {
                let message = format!("another helper already listens on {}", socket.display());
                return Err(Error::new(Code::Busy, message).hint("stop it first, or use another socket"));
            }
            fs::remove_file(socket).context(|| format!("removing the old {}", socket.display()))?;
        }
        Ok(_) => {
            let message = format!("{} is there and is no socket", socket.display());
            return Err(Error::new(Code::AlreadyExists, message));
        }
        Err(_) => {}
    }
    let doing = || format!("listening on {}", socket.display());
    // Neither follows a link that somebody may put in its place.
    let mask = umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(socket);
    umask(mask);
    let listener = bound.context(doing)?;
    lchown(socket, Some(uid), None).context(doing)?;
    Ok(listener)
}

/// Serves until the process is told to end.
pub fn serve(listener: &UnixListener, service: &Arc<Mutex<Service>>, uid: u32) -> ! {
    let connections = Arc::new(AtomicUsize::new(0));
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // A caller that has left again, or too many open files for now: neither ends the helper.
                tracing::warn!(%error, "a connection was not accepted");
                thread::sleep(PATIENCE);
                continue;
            }
        };
        if let Err(error) = admit(&stream, uid, connections.load(Ordering::Relaxed)) {
            tracing::warn!(%error, "connection refused");
            refuse(&mut stream, error);
            continue;
        }
        connections.fetch_add(1, Ordering::Relaxed);
        let (service, connections) = (Arc::clone(service), Arc::clone(&connections));
        thread::spawn(move || {
            if let Err(error) = converse(&mut stream, &service) {
                tracing::warn!(%error, "connection ended");
                refuse(&mut stream, error);
            }
            connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Says why a connection ends. What the caller is still sending is read away first: closing a socket over unread bytes
/// resets it, and the caller might never see the reason.
fn refuse(stream: &mut UnixStream, error: Error) {
    let _ = write_frame(stream, &Answer { id: 0, result: None, error: Some(error) });
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = std::io::copy(&mut stream.take(u64::from(MAX_FRAME_BYTES)), &mut std::io::sink());
}

fn admit(stream: &UnixStream, uid: u32, connections: usize) -> Result<()> {
    let peer = socket_peercred(stream.as_fd()).context(|| "asking who is calling".into())?;
    if peer.uid.as_raw() != uid {
        let message = format!("uid {} may not use this helper", peer.uid.as_raw());
        return Err(Error::new(Code::Forbidden, message).hint("run the daemon as the user given with --uid"));
    }
    if connections >= MAX_CONNECTIONS {
        return Err(Error::new(Code::LimitExceeded, format!("more than {MAX_CONNECTIONS} connections")));
    }
    Ok(())
}

fn converse(stream: &mut UnixStream, service: &Mutex<Service>) -> Result<()> {
    let Some(hello) = read_frame::<Hello>(stream)? else {
        return Ok(());
    };
    if hello.version != PROTOCOL_VERSION {
        let message = format!("the daemon speaks version {}, this helper {PROTOCOL_VERSION}", hello.version);
        return Err(
            Error::new(Code::Unsupported, message).hint("install daemon and helper of the same release")
        );
    }
    write_frame(stream, &Hello { version: PROTOCOL_VERSION, pid: parent_id(), worker: std::process::id() })?;
    let filling = lock(service).filling();
    while let Some(Request { id, call }) = read_frame::<Request>(stream)? {
        let verb = parse_call(call);
        if let Ok(Verb::DeviceListen {}) = verb {
            write_frame(stream, &Answer { id, result: Some(json!({})), error: None })?;
            return tell_wishes(stream, &filling);
        }
        let answer = match verb.and_then(|verb| perform(verb, service, &filling)) {
            Ok(result) => Answer { id, result: Some(result), error: None },
            Err(error) => Answer { id, result: None, error: Some(error) },
        };
        write_frame(stream, &answer)?;
    }
    Ok(())
}

/// Until the daemon leaves.
fn tell_wishes(stream: &mut UnixStream, filling: &Filling) -> Result<()> {
    // As long as nothing is filled there is nothing to hear.
    let wishes = loop {
        match filling.wait(LISTENER_CHECK) {
            Some(filler) => break filler.listen(),
            None if is_gone(stream) => return Ok(()),
            None => {}
        }
    };
    loop {
        match wishes.recv_timeout(LISTENER_CHECK) {
            Ok(wish) => write_frame(stream, &wish)?,
            Err(RecvTimeoutError::Timeout) if is_gone(stream) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            // Another listens now.
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn is_gone(stream: &UnixStream) -> bool {
    let mut asked = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

fn lock(service: &Mutex<Service>) -> MutexGuard<'_, Service> {
    service.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Large ones take their time, in which others go on.
fn layers(service: &Mutex<Service>) -> Arc<Layers> {
    lock(service).layers()
}

fn perform(verb: Verb, service: &Mutex<Service>, filling: &Filling) -> Result<Value> {
    let done = json!({});
    Ok(match verb {
        Verb::Probe {} => {
            let root = lock(service).root().to_owned();
            encode(&probe(&root))?
        }
        Verb::VolumeMount(wanted) => encode(&lock(service).mount_volume(wanted)?)?,
        Verb::VolumeUmount { volume } => lock(service).umount_volume(&volume).map(|()| done)?,
        Verb::VolumeStatus {} => encode(&lock(service).volumes()?)?,
        Verb::VolumeRetire { volume } => encode(&lock(service).retire_volume(&volume)?)?,
        Verb::VolumeTouches { volume } => json!({ "touches": lock(service).touches(&volume)? }),
        Verb::OverlayPrepare(wanted) => encode(&lock(service).prepare_overlay(wanted)?)?,
        Verb::OverlayRemove { overlay } => lock(service).remove_overlay(&overlay).map(|()| done)?,
        Verb::LayerPrepare(wanted) => encode(&lock(service).prepare_layer(&wanted)?)?,
        Verb::LayerRemove { layer } => layers(service).remove(&layer).map(|()| done)?,
        Verb::LayerUsage { layer } => encode(&layers(service).usage(&layer)?)?,
        Verb::LayerList {} => json!({ "layers": layers(service).list()? }),
        Verb::LoopAttach { image } => json!({ "device": lock(service).attach_loop(&image)? }),
        Verb::LoopDetach { image } => lock(service).detach_loop(&image).map(|()| done)?,
        // Readers wait for these: whatever else the helper does, they do not.
        Verb::DeviceFill(FillDevice { device, blob, blocks }) => {
            json!({ "failed": filling.start()?.fill(&device, &blob, &blocks)? })
        }
        Verb::DeviceRefuse(RefuseBlocks { device, blocks, reason }) => {
            filling.start()?.refuse(&device, &blocks, &reason).map(|()| done)?
        }
        Verb::DevicePresent { device } => json!({ "blocks": filling.start()?.present(&device)? }),
        Verb::DeviceListen {} => done,
    })
}

fn encode(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|cause| Error::new(Code::Internal, format!("encoding an answer: {cause}")))
}
