//! The command line.

use std::ffi::CString;
use std::path::PathBuf;

use crate::error::{Code, Error, Result};

pub const USAGE: &str = "\
drakkar-native: mounts volumes and overlays for the Drakkar daemon

usage: drakkar-native --root DIR --content DIR --blobs DIR --socket PATH --uid UID
                      [--read-deadline-ms MS] [--end-with-parent] [--wait] [--cgroups DIR]
       drakkar-native --upgrade --root DIR
       drakkar-native --probe DIR

  --root DIR          mount points and state; belongs to root, on a disk
  --content DIR       the daemon's raw snapshot files (<state>/volumes)
  --blobs DIR         the daemon's blobs (<state>/blobs/sha256)
  --socket PATH       where to listen
  --uid UID           the only user that may connect: a number, or a name
  --read-deadline-ms  how long a reader waits for what is missing before it gets an error; 30000
  --end-with-parent   stop when the process that started this one ends
  --wait              wait while another helper has the root, instead of ending
  --cgroups DIR       where cgroups are mounted: holders get one of their own there, as what ends a pod ends all that is in its own
  --upgrade           have the running helper go on as the program that is installed now; volumes stay mounted
  --probe DIR         say as JSON what this kernel can do, trying it in DIR, and end";

/// Longer than a registry and a swarm need that work, shorter than the patience of most who wait for a container.
const DEFAULT_READ_DEADLINE_MS: u64 = 30_000;
const READ_DEADLINES_MS: std::ops::RangeInclusive<u64> = 100..=600_000;

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Serve(Options),
    Probe(PathBuf),
    Upgrade(PathBuf),
    Help,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub root: PathBuf,
    pub content: PathBuf,
    pub blobs: PathBuf,
    pub socket: PathBuf,
    pub uid: u32,
    pub read_deadline_ms: u64,
    pub end_with_parent: bool,
    pub waits: bool,
    pub cgroups: Option<PathBuf>,
}

pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Command> {
    let mut arguments = arguments.peekable();
    let (mut root, mut content, mut blobs, mut socket, mut uid) = (None, None, None, None, None);
    let (mut read_deadline_ms, mut end_with_parent, mut upgrade) = (DEFAULT_READ_DEADLINE_MS, false, false);
    let (mut waits, mut cgroups) = (false, None);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| refuse(format!("{name} needs a value")));
        match name.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--probe" => return Ok(Command::Probe(value()?.into())),
            "--root" => root = Some(value()?.into()),
            "--content" => content = Some(value()?.into()),
            "--blobs" => blobs = Some(value()?.into()),
            "--socket" => socket = Some(value()?.into()),
            "--uid" => {
                let text = value()?;
                let user = text.parse().ok().or_else(|| uid_of(&text));
                uid = Some(user.ok_or_else(|| refuse(format!("--uid {text} is no user's number or name")))?);
            }
            "--read-deadline-ms" => {
                let text = value()?;
                let known = text.parse().ok().filter(|ms| READ_DEADLINES_MS.contains(ms));
                read_deadline_ms = known.ok_or_else(|| {
                    refuse(format!("--read-deadline-ms {text} is not in {READ_DEADLINES_MS:?}"))
                })?;
            }
            "--upgrade" => upgrade = true,
            "--end-with-parent" => end_with_parent = true,
            "--wait" => waits = true,
            "--cgroups" => cgroups = Some(value()?.into()),
            _ => return Err(refuse(format!("unknown argument {name}"))),
        }
    }
    let missing = |name: &str| refuse(format!("{name} is missing"));
    let root = root.ok_or_else(|| missing("--root"))?;
    if upgrade {
        return Ok(Command::Upgrade(root));
    }
    Ok(Command::Serve(Options {
        root,
        content: content.ok_or_else(|| missing("--content"))?,
        blobs: blobs.ok_or_else(|| missing("--blobs"))?,
        socket: socket.ok_or_else(|| missing("--socket"))?,
        uid: uid.ok_or_else(|| missing("--uid"))?,
        read_deadline_ms,
        end_with_parent,
        waits,
        cgroups,
    }))
}

/// A user's number, as the system knows its name.
fn uid_of(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a string of C, and what is returned is read before anybody asks again: there is one thread.
    unsafe { libc::getpwnam(name.as_ptr()).as_ref() }.map(|user| user.pw_uid)
}

fn refuse(why: String) -> Error {
    Error::new(Code::InvalidArgument, why).hint("see drakkar-native --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn says_what_is_missing_or_wrong() {
        assert!(parsed("--root /r --content /c --blobs /b --socket /s --uid 7").is_ok());
        let by_name = parsed("--root /r --content /c --blobs /b --socket /s --uid root").unwrap();
        assert!(matches!(by_name, Command::Serve(Options { uid: 0, .. })));
        assert_eq!(parsed("--help").unwrap(), Command::Help);
        for line in ["", "--root /r", "--uid no-such-user", "--read-deadline-ms 1", "--root", "--frobnicate"]
        {
            assert_eq!(parsed(line).unwrap_err().code, Code::InvalidArgument, "{line}");
        }
    }
}
