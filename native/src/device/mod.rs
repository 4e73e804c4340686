//! A device of a snapshot as a file that is filled block by block.

pub mod map;
pub mod shape;
pub mod spec;
