//! Numbers of the protocol. Source of all: include/uapi/linux/fuse.h, by the names in the comments.

/// `FUSE_KERNEL_VERSION`.
pub const MAJOR: u32 = 7;
/// The version that we speak; the kernel goes down to it. Source: `FUSE_KERNEL_MINOR_VERSION` of Linux 6.2.
pub const MINOR: u32 = 38;
/// With `FUSE_MAX_PAGES`: Linux 4.20.
pub const LEAST_MINOR: u32 = 28;

/// `FUSE_ROOT_ID`.
pub const ROOT: u64 = 1;

/// `struct fuse_in_header`.
pub const IN_HEADER_BYTES: usize = 40;
/// `struct fuse_out_header`.
pub const OUT_HEADER_BYTES: usize = 16;

/// A buffer that is shorter than `FUSE_MIN_READ_BUFFER` gets nothing. Source: `fuse_dev_do_read` in fs/fuse/dev.c.
pub const LEAST_BUFFER_BYTES: usize = 8192;

/// `enum fuse_opcode`.
pub mod opcode {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const READ: u32 = 15;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const INIT: u32 = 26;
    pub const ACCESS: u32 = 34;
    pub const DESTROY: u32 = 38;
    pub const BATCH_FORGET: u32 = 42;
}

/// Flags of `FUSE_INIT`.
pub mod init {
    /// Reads ahead are not waited for, and several are under way.
    pub const ASYNC_READ: u32 = 1 << 0;
    /// What a loop device reads directly is not waited for either.
    pub const ASYNC_DIO: u32 = 1 << 15;
    /// After one `ENOSYS` files are opened without asking, and their pages stay in the cache (`FOPEN_KEEP_CACHE`).
    pub const NO_OPEN_SUPPORT: u32 = 1 << 17;
    pub const MAX_PAGES: u32 = 1 << 22;
    /// Pages stay until we say otherwise: a device never changes.
    pub const EXPLICIT_INVAL_DATA: u32 = 1 << 25;
}
