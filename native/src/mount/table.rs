//! The kernel's table of mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use crate::error::{Context, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub kind: String,
    pub source: String,
}

/// What is mounted on top at each path. Source: proc(5), `/proc/pid/mountinfo`.
pub fn mounts() -> Result<BTreeMap<PathBuf, Mount>> {
    let text = fs::read("/proc/self/mountinfo").context(|| "reading the mount table".into())?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
}

/// Whether something is mounted at a path, which is asked often: without reading the table. Source: statx(2).
pub fn is_mount_point(path: &Path) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    statx(CWD, path, flags, StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// A process in another mount namespace that has an overlay with this upper directory: a container that runs. Unmounting
/// here would succeed and pull its files away from under it.
/// Where our own mount of it was propagated to, as to services that see other files than ours, it goes with ours, and is none.
pub fn user_of_upper(upper: &Path, rootfs: &Path) -> Option<u32> {
    let needle = format!("upperdir={}", upper.display());
    let ours = fs::read_link("/proc/self/ns/mnt").ok();
    let mut seen: BTreeSet<PathBuf> = ours.into_iter().collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().into_string().ok()?.parse::<u32>().ok()).find(|process| {
        let Ok(namespace) = fs::read_link(format!("/proc/{process}/ns/mnt")) else { return false };
        if seen.contains(&namespace) {
            return false;
        }
        // A process that has just ended says nothing of its namespace: the next one of it is asked.
        let table = fs::read(format!("/proc/{process}/mountinfo")).unwrap_or_default();
        if !table.is_empty() {
            seen.insert(namespace);
        }
        table.split(|byte| *byte == b'\n').any(|line| names_upper(line, &needle) && !follows(line, rootfs))
    })
}

/// Whether it is a slave of the mount at this place.
fn follows(line: &[u8], rootfs: &Path) -> bool {
    let mut options = line.split(|byte| *byte == b' ').skip(6).take_while(|field| *field != b"-");
    options.any(|field| field.starts_with(b"master:"))
        && parse_line(line).is_some_and(|(target, _)| target == rootfs)
}

fn names_upper(line: &[u8], needle: &str) -> bool {
    let options = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    unescape(options).split(|byte| *byte == b',').any(|option| option == needle.as_bytes())
}

fn parse_line(line: &[u8]) -> Option<(PathBuf, Mount)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let target = unescape(fields.nth(4)?);
    let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = String::from_utf8_lossy(tail.next()?).into_owned();
    let source = String::from_utf8_lossy(&unescape(tail.next()?)).into_owned();
    Some((PathBuf::from(OsString::from_vec(target)), Mount { kind, source }))
}

/// Blanks, tabs, newlines and backslashes are written as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, others)) = rest.split_first() {
        let octal =
            others.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &others[3..];
            }
            None => {
                plain.push(first);
                rest = others;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_with_optional_fields_and_escapes() {
        let line = br"42 27 0:39 / /tmp/a\040b ro,relatime shared:1 master:2 - erofs /proc/self/fd/4 ro";
        let (path, mount) = parse_line(line).unwrap();
        assert_eq!(path, PathBuf::from("/tmp/a b"));
        assert_eq!(mount, Mount { kind: "erofs".into(), source: "/proc/self/fd/4".into() });
        assert_eq!(parse_line(b""), None);
        assert_eq!(unescape(br"a\1"), br"a\1");
        assert!(follows(line, Path::new("/tmp/a b")) && !follows(line, Path::new("/tmp/a")));
        assert!(!follows(b"42 27 0:39 / /a ro shared:1 - erofs x ro", Path::new("/a")));
    }
}
