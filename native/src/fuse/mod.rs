//! Devices as files of a file system of our own, for kernels that can't ask before a file is read: what we use of FUSE, and no more. Answers
//! come whenever the bytes do, in any order and from any thread, which is why this is not a library's loop.
//!
//! - `abi`: numbers and layouts; `request`, `reply`: bytes to values and back, pure
//! - `pending`: the requests that were read and not answered, in memory that outlives the worker
//! - `connection`: the descriptor of `/dev/fuse` with its pending requests

pub mod abi;
pub mod connection;
pub mod pending;
pub mod reply;
pub mod request;
