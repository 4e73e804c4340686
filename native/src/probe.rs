//! What this kernel can do, found out by trying.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, openat};
use serde::Serialize;

use crate::content::ContentFile;
use crate::error::{Code, Context, Error, Result};
use crate::fuse::connection::Connection;
use crate::holder::group::{self, Event, Group};
use crate::ids::ContentId;
use crate::journal::EVENT_BYTES;
use crate::mount::{self, Filesystem, erofs, loopdev};
use crate::wire::Backend;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    pub kernel: String,
    pub erofs: Finding,
    pub erofs_on_files: Finding,
    pub loop_devices: Finding,
    pub overlay: Finding,
    pub fuse: Finding,
    pub fanotify_pre_content: Finding,
    /// Volume backends that work here, best first.
    pub backends: Vec<Backend>,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    pub works: bool,
    /// Why not, in the kernel's words.
    pub reason: Option<String>,
}

impl<T, E: std::fmt::Display> From<std::result::Result<T, E>> for Finding {
    fn from(tried: std::result::Result<T, E>) -> Self {
        Self { works: tried.is_ok(), reason: tried.err().map(|error| error.to_string()) }
    }
}

/// `root` is the helper's own directory: the file systems that matter are tried on the disk that they will be used on.
pub fn probe(root: &Path) -> Probe {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let image = || sample(root);
    let on_files = erofs_on_files(root);
    let on_loops = image().and_then(|image| erofs::mount_loops(&image, &[]));
    let fuse = Connection::open().and_then(|connection| mount::fuse::mount(connection.device()));
    let pre_content = pre_content(root);
    let works = [
        (Backend::Fanotify, pre_content.is_ok() && on_files.is_ok()),
        (Backend::Fuse, fuse.is_ok() && (on_files.is_ok() || on_loops.is_ok())),
        (Backend::Local, on_files.is_ok() || on_loops.is_ok()),
    ];
    let erofs = match (&on_files, &on_loops) {
        (Err(_), Err(_)) => Finding::from(Filesystem::open("erofs").and_then(|_| on_loops.map(drop))),
        _ => Finding { works: true, reason: None },
    };
    Probe {
        kernel,
        erofs,
        erofs_on_files: on_files.into(),
        loop_devices: image()
            .and_then(|image| loopdev::attach(&image, loopdev::Lifetime::UntilUnused))
            .into(),
        overlay: Filesystem::open("overlay").into(),
        fuse: fuse.into(),
        fanotify_pre_content: pre_content.into(),
        backends: works.into_iter().filter(|(_, works)| *works).map(|(backend, _)| backend).collect(),
    }
}

/// Whether EROFS can be mounted from files, and what is read so is right: kernels before 7.0, but for later releases of some of them, fill up with zeros
/// what a read of the file was cut short by, and keep that for others. A reader that is killed while it waits cuts it short, and so does the file's end.
/// Source: "erofs: set fileio bio failed in short read case" of February 2026.
pub fn erofs_on_files(root: &Path) -> Result<()> {
    let mounted = erofs::mount_files(&sample(root)?, &[])?;
    let file = openat(&mounted, SAMPLE_FILE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(|| "opening a file of a sample".into())?;
    match File::from(file).read_at(&mut [0; 1], 0) {
        Err(cause) if cause.raw_os_error() == Some(libc::EIO) => Ok(()),
        Err(cause) => Err(cause).context(|| "reading a file of a sample".into()),
        Ok(_) => Err(Error::new(
            Code::Unsupported,
            "what is read of files is zeros where a reader was killed",
        )
        .hint("Linux 7.0 and later releases of older ones have mended it; until then loop devices are used")),
    }
}

const SAMPLE_FILE: &str = "f";

/// A small EROFS image in one block: a superblock and a root directory with one file, whose content lies behind the end.
fn sample(root: &Path) -> Result<ContentFile> {
    let mut block = vec![0u8; 4096];
    let mut put = |offset: usize, bytes: &[u8]| block[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(1024, &0xE0F5_E1E2u32.to_le_bytes());
    put(1024 + 12, &[12]); // 4096-byte blocks
    put(1024 + 14, &36u16.to_le_bytes()); // the root inode is right behind the superblock: 36 × 32 = 1152
    put(1024 + 16, &2u64.to_le_bytes());
    put(1024 + 36, &2u32.to_le_bytes());
    put(1152, &(2u16 << 1).to_le_bytes()); // its names follow it
    put(1152 + 4, &0o040_755u16.to_le_bytes());
    put(1152 + 6, &2u16.to_le_bytes());
    put(1152 + 8, &40u32.to_le_bytes());
    for (index, (inode, name_at, kind)) in
        [(36u64, 36u16, 2u8), (36, 37, 2), (40, 39, 1)].into_iter().enumerate()
    {
        let at = 1184 + 12 * index;
        put(at, &inode.to_le_bytes());
        put(at + 8, &name_at.to_le_bytes());
        put(at + 10, &[kind]);
    }
    put(1184 + 36, format!("...{SAMPLE_FILE}").as_bytes());
    put(1280 + 4, &0o100_644u16.to_le_bytes());
    put(1280 + 6, &1u16.to_le_bytes());
    put(1280 + 8, &4096u32.to_le_bytes());
    put(1280 + 16, &1u32.to_le_bytes()); // its content would be the next block
    // Another may be trying the same.
    static SAMPLES: AtomicU32 = AtomicU32::new(0);
    let path = root.join(format!("probe-{}-{}.erofs", std::process::id(), SAMPLES.fetch_add(1, Relaxed)));
    let written = fs::write(&path, &block).and_then(|()| File::open(&path));
    let _ = fs::remove_file(&path);
    let file = written.context(|| format!("writing {}", path.display()))?;
    Ok(ContentFile { file, id: ContentId::try_from("0".repeat(64))?, is_served: false })
}

/// Whether a file can be marked so that reading it asks us first, and says which bytes are read.
fn pre_content(root: &Path) -> Result<()> {
    let file = sample(root)?.file;
    let unmarked = file.try_clone().context(|| "opening a file once more".into())?;
    let group = Group::create()?;
    group.mark(&unmarked)?;
    // A descriptor of its own: one that was opened before the mark asks nobody.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let reader = thread::spawn(move || File::open(path).and_then(|file| file.read_exact_at(&mut [0], 1024)));
    let event = first_event(&group);
    if let Ok(Some(event)) = &event {
        let _ = group.answer(event.number, true);
        // SAFETY: the kernel has made the descriptor for us, and nobody else closes it.
        unsafe { libc::close(event.number) };
    }
    // Whoever waits still is let through when the group is closed.
    drop(group);
    let _ = reader.join();
    match event? {
        Some(Event { range: Some((offset, length)), .. })
            if offset <= 1024 && offset.saturating_add(length) > 1024 =>
        {
            Ok(())
        }
        Some(_) => {
            Err(Error::new(Code::Unsupported, "events don't say which bytes are read (Linux 6.14 does)"))
        }
        None => Err(Error::new(Code::Unsupported, "a marked file was read without an event")),
    }
}

/// `None` where none comes.
fn first_event(group: &Group) -> Result<Option<Event>> {
    let mut buffer = [0u64; EVENT_BYTES / 8];
    let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
    let _ = poll(&mut [PollFd::new(group.file(), PollFlags::IN)], Some(&patience));
    let is_there =
        group.read_into(NonNull::from(&mut buffer).cast()).context(|| "reading an event".into())?;
    let mut bytes = [0; EVENT_BYTES];
    for (bytes, word) in bytes.chunks_exact_mut(8).zip(buffer) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    Ok(group::parse(&bytes).filter(|_| is_there))
}
