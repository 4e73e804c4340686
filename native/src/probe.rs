//! What this kernel can do, found out by trying.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;

use serde::Serialize;

use crate::content::ContentFile;
use crate::error::Result;
use crate::ids::ContentId;
use crate::mount::{Filesystem, erofs, loopdev};
use crate::wire::Backing;

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
    pub backends: Vec<&'static str>,
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
    let on_files = image().and_then(|image| erofs::mount(&image, &[], Backing::File));
    let on_loops = image().and_then(|image| erofs::mount(&image, &[], Backing::Loop));
    let erofs = match (&on_files, &on_loops) {
        (Err(_), Err(_)) => Finding::from(Filesystem::open("erofs").and_then(|_| on_loops.map(drop))),
        _ => Finding { works: true, reason: None },
    };
    let backends = if erofs.works { vec!["local"] } else { vec![] };
    Probe {
        kernel,
        erofs,
        erofs_on_files: on_files.into(),
        loop_devices: image()
            .and_then(|image| loopdev::attach(&image, loopdev::Lifetime::UntilUnused))
            .into(),
        overlay: Filesystem::open("overlay").into(),
        fuse: File::options().read(true).write(true).open("/dev/fuse").into(),
        fanotify_pre_content: image().map_err(Into::into).and_then(|image| pre_content(&image.file)).into(),
        backends,
    }
}

impl From<crate::error::Error> for std::io::Error {
    fn from(error: crate::error::Error) -> Self {
        std::io::Error::other(error.to_string())
    }
}

/// The smallest EROFS image: a superblock and an empty root directory, in one block.
fn sample(root: &Path) -> Result<ContentFile> {
    use crate::error::Context;
    let mut block = vec![0u8; 4096];
    let mut put = |offset: usize, bytes: &[u8]| block[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(1024, &0xE0F5_E1E2u32.to_le_bytes());
    put(1024 + 12, &[12]); // 4096-byte blocks
    put(1024 + 14, &36u16.to_le_bytes()); // the root inode is right behind the superblock: 36 × 32 = 1152
    put(1024 + 16, &1u64.to_le_bytes());
    put(1024 + 36, &1u32.to_le_bytes());
    put(1152 + 4, &0o040_755u16.to_le_bytes());
    put(1152 + 6, &2u16.to_le_bytes());
    let path = root.join("probe.erofs");
    fs::write(&path, &block).context(|| format!("writing {}", path.display()))?;
    let file = File::open(&path).context(|| format!("opening {}", path.display()))?;
    let _ = fs::remove_file(&path);
    Ok(ContentFile { file, id: ContentId::try_from("0".repeat(64))? })
}

/// Whether a file can be marked so that reading it asks us first. Source: include/uapi/linux/fanotify.h.
fn pre_content(file: &File) -> std::io::Result<()> {
    const FAN_CLASS_PRE_CONTENT: u32 = 0x08;
    const FAN_CLOEXEC: u32 = 0x01;
    const FAN_PRE_ACCESS: u64 = 0x0010_0000;
    let check = |answer: libc::c_int| match answer {
        -1 => Err(std::io::Error::last_os_error()),
        answer => Ok(answer),
    };
    // SAFETY: takes two numbers, returns a descriptor.
    let group =
        check(unsafe { libc::fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC, libc::O_RDONLY as u32) })?;
    // SAFETY: with a null path the mark goes to the descriptor, which is open.
    let marked = check(unsafe {
        libc::fanotify_mark(group, libc::FAN_MARK_ADD, FAN_PRE_ACCESS, file.as_raw_fd(), std::ptr::null())
    });
    // SAFETY: the group was opened above and is used no more.
    unsafe { libc::close(group) };
    marked.map(drop)
}
