//! The socket: who may speak, and one thread a speaker.

use std::fs;
use std::io::Read;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use serde_json::{Value, json};

use crate::error::{Code, Context, Error, Result};
use crate::probe::probe;
use crate::service::Service;
use crate::wire::{
    Answer, Hello, MAX_FRAME_BYTES, PROTOCOL_VERSION, Request, Verb, parse_call, read_frame, write_frame,
};

/// The daemon needs one connection; a few more serve tools. One too many is refused with a reason.
const MAX_CONNECTIONS: usize = 16;

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
    let listener = UnixListener::bind(socket).context(doing)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600)).context(doing)?;
    chown(socket, Some(uid), None).context(doing)?;
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
    write_frame(stream, &Hello { version: PROTOCOL_VERSION, pid: std::process::id() })?;
    while let Some(Request { id, call }) = read_frame::<Request>(stream)? {
        let answer = match parse_call(call).and_then(|verb| perform(verb, service)) {
            Ok(result) => Answer { id, result: Some(result), error: None },
            Err(error) => Answer { id, result: None, error: Some(error) },
        };
        write_frame(stream, &answer)?;
    }
    Ok(())
}

fn perform(verb: Verb, service: &Mutex<Service>) -> Result<Value> {
    // A panic in one verb leaves the intents on disk and in memory equal, so the next verb may go on.
    let mut service: MutexGuard<'_, Service> = service.lock().unwrap_or_else(PoisonError::into_inner);
    let done = json!({});
    Ok(match verb {
        Verb::Probe {} => encode(&probe(service.root()))?,
        Verb::VolumeMount(wanted) => encode(&service.mount_volume(wanted)?)?,
        Verb::VolumeUmount { volume } => service.umount_volume(&volume).map(|()| done)?,
        Verb::VolumeStatus {} => encode(&service.volumes()?)?,
        Verb::OverlayPrepare(wanted) => encode(&service.prepare_overlay(wanted)?)?,
        Verb::OverlayRemove { overlay } => service.remove_overlay(&overlay).map(|()| done)?,
        Verb::LoopAttach { image } => json!({ "device": service.attach_loop(&image)? }),
        Verb::LoopDetach { image } => service.detach_loop(&image).map(|()| done)?,
    })
}

fn encode(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|cause| Error::new(Code::Internal, format!("encoding an answer: {cause}")))
}
