//! The worker's part in lazy volumes: what readers wait for is asked of the daemon, and what it brings is put where the kernel reads it.

mod answers;
pub mod blocks;
mod devices;
mod failures;
pub mod filler;
pub mod filling;
pub mod holding;
mod serving;
mod waits;
