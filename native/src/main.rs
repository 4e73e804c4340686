//! The privileged helper of Drakkar. The daemon, which faces the network, is an ordinary user; what needs root is a verb
//! of this program. Verbs take ids, never paths, work only below the helper's own root, and only one user may call them.
//!
//! - `wire`, `ids`, `error`: the boundary; its other side is `daemon/src/native.ts`
//! - `launcher`: keeps a worker running
//! - `server`: socket, peer check, threads
//! - `service`, `state`: the verbs, and what shall be
//! - `content`: the daemon's files, which are not trusted
//! - `holder`: the process that the kernel asks before a device is read that is being filled
//! - `worker`: filling devices; `device`, `journal`, `touches`, `memory`: what worker and
//!   holder share
//! - `fuse`: what the kernel asks of files that we serve; `worker::serving` answers
//! - `mount`: the kernel's interfaces; `probe`: which of them work

mod content;
mod device;
mod error;
mod fuse;
mod holder;
mod ids;
mod journal;
mod launcher;
mod memory;
mod mount;
mod options;
mod probe;
mod sandbox;
mod server;
mod service;
mod state;
mod touches;
mod wire;
mod worker;

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use error::{Context, Result};
use launcher::Signals;
use options::{Command, Options};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == mount::idmap::NAMESPACE_HOLDER_ARGUMENT) {
        let _ = std::io::stdin().read(&mut [0]);
        return ExitCode::SUCCESS;
    }
    if arguments.next_if_eq(worker::holding::HOLDER_ARGUMENT).is_some() {
        return exit_code(hold(arguments.collect()).map(|()| ExitCode::SUCCESS));
    }
    let works = arguments.next_if_eq(launcher::WORKER_ARGUMENT).is_some();
    let arguments: Vec<String> = arguments.collect();
    let outcome = options::parse(arguments.iter().cloned()).and_then(|command| match command {
        Command::Help => {
            println!("{}", options::USAGE);
            Ok(ExitCode::SUCCESS)
        }
        Command::Probe(directory) => {
            println!("{}", serde_json::json!(probe::probe(&directory)));
            Ok(ExitCode::SUCCESS)
        }
        Command::Upgrade(root) => service::upgrade(&root).map(|()| ExitCode::SUCCESS),
        Command::Serve(options) if works => serve(options).map(|()| ExitCode::SUCCESS),
        Command::Serve(options) => launcher::launch(&arguments, options.end_with_parent),
    });
    exit_code(outcome)
}

fn exit_code(outcome: Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            let hint = error.hint.as_deref().map_or(String::new(), |hint| format!(" ({hint})"));
            let _ = writeln!(Words, "drakkar-native: {error}{hint}");
            ExitCode::FAILURE
        }
    }
}

fn hold(arguments: Vec<String>) -> Result<()> {
    log_to_stderr();
    let socket =
        arguments.first().ok_or_else(|| error::Error::new(error::Code::InvalidArgument, "no socket"))?;
    let adopts = arguments.get(1).is_some_and(|argument| argument == worker::holding::ADOPT_ARGUMENT);
    holder::run(socket.as_ref(), adopts)
}

/// Where nothing can be written, on a full disk say, nothing is said, and the work goes on.
struct Words;

impl Write for Words {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DRAKKAR_LOG").unwrap_or_else(|_| "info".into());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Words).with_ansi(colours).init();
}

/// On SIGTERM what is here is brought to the disk, and a holder that holds nothing ends as well. Volumes stay mounted, and readers wait for the next
/// worker.
fn end_in_order(signals: Signals, filling: Arc<worker::filling::Filling>) -> Result<()> {
    let wait = move || {
        while !matches!(signals.next(), libc::SIGTERM | libc::SIGINT) {}
        if let Some(filler) = filling.filler() {
            filler.goodbye();
        }
        std::process::exit(0);
    };
    std::thread::Builder::new()
        .name("end".into())
        .spawn(wait)
        .map(drop)
        .context(|| "waiting for signals".into())
}

const TURN_POLL: Duration = Duration::from_millis(20);

/// Returns when no other helper has the root. Ends when it is told to.
fn await_turn(root: &Path, signals: &Signals) -> Result<()> {
    let mut is_said = false;
    while !service::is_free(root)? {
        if !std::mem::replace(&mut is_said, true) {
            tracing::info!(root = %root.display(), "waiting for another helper to end");
        }
        if matches!(signals.next_within(TURN_POLL), Some(libc::SIGTERM | libc::SIGINT)) {
            std::process::exit(0);
        }
    }
    Ok(())
}

fn serve(options: Options) -> Result<()> {
    log_to_stderr();
    let socket = options.socket.clone();
    let uid = options.uid;
    sandbox::confine_worker()?;
    let signals = Signals::block();
    if options.waits {
        await_turn(&options.root, &signals)?;
    }
    let service = service::Service::open(options)?;
    end_in_order(signals, service.filling())?;
    let listener = server::bind(&socket, uid)?;
    tracing::info!(socket = %socket.display(), uid, "ready");
    server::serve(&listener, &Arc::new(Mutex::new(service)), uid)
}
