//! Loop devices, read-only. A device that backs a volume clears itself when its last user goes (`AUTOCLEAR`), so a crash
//! between attaching and mounting leaks nothing.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::apart;
use crate::content::ContentFile;
use crate::error::{Code, Context, Error, Result};

// Source: include/uapi/linux/loop.h
const LOOP_CLR_FD: libc::c_ulong = 0x4C01;
const LOOP_CHANGE_FD: libc::c_ulong = 0x4C06;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

#[repr(C)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

/// Another process may take the free device that the kernel named: ask again, this often.
const ATTEMPTS: usize = 64;

/// What becomes of the device when its last user has closed it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    UntilUnused,
    UntilDetached,
}

/// An attached device and the descriptor that keeps it.
pub struct LoopDevice {
    pub path: PathBuf,
    _device: File,
}

pub fn attach(content: &ContentFile, lifetime: Lifetime) -> Result<LoopDevice> {
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
        .context(|| "opening /dev/loop-control (is the loop module there?)".into())?;
    for _ in 0..ATTEMPTS {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns a number or -1.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(std::io::Error::last_os_error()).context(|| "asking for a free loop device".into());
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_CLOEXEC)
            .open(&path)
            .context(|| format!("opening {}", path.display()))?;
        match configure(&device, content, lifetime) {
            Ok(()) => {
                return Ok(LoopDevice { path, _device: device });
            }
            Err(cause) if cause.raw_os_error() == Some(libc::EBUSY) => continue,
            Err(cause) => {
                return Err(cause).context(|| format!("attaching {} to {}", content.id, path.display()));
            }
        }
    }
    Err(Error::new(Code::Busy, "every free loop device was taken by somebody else"))
}

fn configure(device: &File, content: &ContentFile, lifetime: Lifetime) -> std::io::Result<()> {
    let autoclear = if lifetime == Lifetime::UntilUnused { LO_FLAGS_AUTOCLEAR } else { 0 };
    // SAFETY: both structures are plain numbers, for which all zeros is a valid value.
    let mut config: LoopConfig = unsafe { std::mem::zeroed() };
    config.fd = content.file.as_raw_fd().unsigned_abs();
    // A loop device reads through a file's page cache one block after the other, unless it need not wait: over files that we serve it always
    // must. Eight random readers of what is here got 24,000 reads a second that way, 68,000 directly, and one sequential one 1.7 and 2.3 GB/s.
    let direct = if content.is_served { LO_FLAGS_DIRECT_IO } else { 0 };
    config.info.flags = LO_FLAGS_READ_ONLY | autoclear | direct;
    let name = content.id.as_str().as_bytes();
    let length = name.len().min(config.info.file_name.len() - 1);
    config.info.file_name[..length].copy_from_slice(&name[..length]);
    // SAFETY: LOOP_CONFIGURE reads one loop_config, which outlives the call.
    if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// Loop devices by number with the files behind them, as sysfs names them.
pub fn attached() -> Vec<(PathBuf, PathBuf)> {
    let Ok(entries) = fs::read_dir("/sys/block") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| name.starts_with("loop"))?;
            let backing = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
            Some((Path::new("/dev").join(name), PathBuf::from(backing.trim_end_matches('\n'))))
        })
        .collect()
}

/// Puts a file of the same size and content in the place of the one behind a device; whoever uses the device goes on. The kernel waits for
/// reads that are under way.
pub fn change(device: &Path, content: &ContentFile) -> Result<()> {
    let doing = || format!("putting {} behind {}", content.id, device.display());
    let file = File::open(device).context(doing)?;
    let (number, content) = (file.as_raw_fd(), content.file.as_fd());
    // SAFETY: one system call, which takes a descriptor, and the number of its error.
    unsafe {
        apart::apart(&[file.as_fd(), content], || {
            match libc::ioctl(number, LOOP_CHANGE_FD, content.as_raw_fd()) {
                0 => 0,
                _ => *libc::__errno_location(),
            }
        })
    }
    .context(doing)
}

/// # Errors
/// [`Code::Busy`] while it is mounted or open.
pub fn detach(device: &Path) -> Result<()> {
    let file = File::open(device).context(|| format!("opening {}", device.display()))?;
    // SAFETY: LOOP_CLR_FD takes no argument.
    if unsafe { libc::ioctl(file.as_raw_fd(), LOOP_CLR_FD) } < 0 {
        let cause = std::io::Error::last_os_error();
        if cause.raw_os_error() == Some(libc::ENXIO) {
            return Ok(());
        }
        return Err(cause).context(|| format!("detaching {}", device.display()));
    }
    Ok(())
}
