//! The privileged helper of Drakkar. The daemon, which faces the network, is an ordinary user; what needs root is a verb
//! of this program. Verbs take ids, never paths, work only below the helper's own root, and only one user may call them.
//!
//! - `wire`, `ids`, `error`: the boundary; its other side is `daemon/src/native.ts`
//! - `server`: socket, peer check, threads
//! - `service`, `state`: the verbs, and what shall be
//! - `content`: the daemon's files, which are not trusted
//! - `mount`: the kernel's interfaces; `probe`: which of them work

mod content;
mod error;
mod ids;
mod mount;
mod options;
mod probe;
mod server;
mod service;
mod state;
mod wire;

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
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = error.hint.as_deref().map_or(String::new(), |hint| format!(" ({hint})"));
            eprintln!("drakkar-native: {error}{hint}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DRAKKAR_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if options.end_with_parent {
        // The mounts stay: the next helper takes them over.
        let signal = Some(rustix::process::Signal::TERM);
        error::Context::context(rustix::process::set_parent_process_death_signal(signal), || {
            "asking to end with the parent".into()
        })?;
    }
    let service = service::Service::open(options.root, options.content)?;
    let listener = server::bind(&options.socket, options.uid)?;
    tracing::info!(socket = %options.socket.display(), uid = options.uid, "ready");
    server::serve(&listener, &Arc::new(Mutex::new(service)), options.uid)
}
