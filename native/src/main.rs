//! The privileged helper of Drakkar. The daemon, which faces the network, is an ordinary user; what needs root is a verb
//! of this program. Verbs take ids, never paths, work only below the helper's own root, and only one user may call them.
//!
//! - `wire`, `ids`, `error`: the boundary; its other side is `daemon/src/native.ts`
//! - `server`: socket, peer check, threads
//! - `service`, `state`: the verbs, and what shall be
//! - `content`: the daemon's files, which are not trusted
//! - `holder`: the process that the kernel asks before a device is read that is being filled
//! - `worker`: filling devices; `device`, `journal`, `memory`: what worker and holder share
//! - `mount`: the kernel's interfaces; `probe`: which of them work

mod content;
mod device;
mod error;
mod holder;
mod ids;
mod journal;
mod memory;
mod mount;
mod options;
mod probe;
mod server;
mod service;
mod state;
mod wire;
mod worker;

use std::io::Read;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use error::Result;
use options::{Command, Options};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == mount::idmap::NAMESPACE_HOLDER_ARGUMENT) {
        let _ = std::io::stdin().read(&mut [0]);
        return ExitCode::SUCCESS;
    }
    if arguments.next_if_eq(worker::holding::HOLDER_ARGUMENT).is_some() {
        return exit_code(hold(arguments.collect()));
    }
    let outcome = options::parse(arguments).and_then(|command| match command {
        Command::Help => {
            println!("{}", options::USAGE);
            Ok(())
        }
        Command::Probe(directory) => {
            println!("{}", serde_json::json!(probe::probe(&directory)));
            Ok(())
        }
        Command::Serve(options) => serve(options),
    });
    exit_code(outcome)
}

fn exit_code(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = error.hint.as_deref().map_or(String::new(), |hint| format!(" ({hint})"));
            eprintln!("drakkar-native: {error}{hint}");
            ExitCode::FAILURE
        }
    }
}

fn hold(arguments: Vec<String>) -> Result<()> {
    log_to_stderr(false);
    let socket =
        arguments.first().ok_or_else(|| error::Error::new(error::Code::InvalidArgument, "no socket"))?;
    let adopts = arguments.get(1).is_some_and(|argument| argument == worker::holding::ADOPT_ARGUMENT);
    holder::run(socket.as_ref(), adopts)
}

fn log_to_stderr(colours: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DRAKKAR_LOG").unwrap_or_else(|_| "info".into());
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    log.init();
}

/// On SIGTERM what is here is brought to the disk, and a holder that holds nothing ends as well. Volumes stay mounted, and readers wait for the next
/// helper.
fn end_in_order(set: libc::sigset_t, filling: Arc<worker::filling::Filling>) -> Result<()> {
    let wait = move || {
        let mut signal = 0;
        // SAFETY: both point to what this thread owns.
        unsafe { libc::sigwait(&set, &mut signal) };
        if let Some(filler) = filling.filler() {
            filler.goodbye();
        }
        std::process::exit(0);
    };
    error::Context::context(std::thread::Builder::new().name("end".into()).spawn(wait), || {
        "waiting for signals".into()
    })?;
    Ok(())
}

/// In every thread that this one starts from now on.
fn block_sigterm() -> libc::sigset_t {
    // SAFETY: the set is initialised by sigemptyset before it is used, and outlives the calls.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        set
    }
}

fn serve(options: Options) -> Result<()> {
    log_to_stderr(true);
    if options.end_with_parent {
        // The mounts stay: the next helper takes them over.
        let signal = Some(rustix::process::Signal::TERM);
        error::Context::context(rustix::process::set_parent_process_death_signal(signal), || {
            "asking to end with the parent".into()
        })?;
    }
    let socket = options.socket.clone();
    let uid = options.uid;
    let set = block_sigterm();
    let service = service::Service::open(options)?;
    end_in_order(set, service.filling())?;
    let listener = server::bind(&socket, uid)?;
    tracing::info!(socket = %socket.display(), uid, "ready");
    server::serve(&listener, &Arc::new(Mutex::new(service)), uid)
}
