//! How a device is cut into blocks: the unit in which it is fetched, filled and known to be here. Pure arithmetic, in which
//! nothing overflows whatever the daemon says.

use std::ops::Range;

use crate::content::BLOCK_BYTES;
use crate::error::{Code, Error, Result};

/// As large as a snapshot config may say; see `blockBytes` in protocol/src/snapshot.ts.
const MAX_BLOCK_BYTES: u32 = 16 * 1024 * 1024;

/// A terabyte in blocks of 512 KiB. The map of such a device has 18 MiB.
const MAX_BLOCKS: u64 = 2 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    size_bytes: u64,
    block_bytes: u32,
}

impl Shape {
    pub fn new(size_bytes: u64, block_bytes: u32) -> Result<Self> {
        let aligned = |bytes: u64| bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES);
        if !aligned(size_bytes) || !aligned(u64::from(block_bytes)) || block_bytes > MAX_BLOCK_BYTES {
            let message = format!("a device of {size_bytes} bytes in blocks of {block_bytes} can't be");
            return Err(Error::new(Code::InvalidArgument, message));
        }
        let shape = Self { size_bytes, block_bytes };
        if shape.size_bytes.div_ceil(u64::from(block_bytes)) > MAX_BLOCKS
            || i64::try_from(size_bytes).is_err()
        {
            let message = format!("a device of {size_bytes} bytes has more than {MAX_BLOCKS} blocks");
            return Err(Error::new(Code::LimitExceeded, message));
        }
        Ok(shape)
    }

    pub fn size_bytes(self) -> u64 {
        self.size_bytes
    }

    pub fn block_bytes(self) -> u32 {
        self.block_bytes
    }

    pub fn blocks(self) -> u32 {
        self.size_bytes.div_ceil(u64::from(self.block_bytes)) as u32
    }

    /// The bytes of a block; empty for one that there is not.
    pub fn bytes_of(self, block: u32) -> Range<u64> {
        let start = (u64::from(block) * u64::from(self.block_bytes)).min(self.size_bytes);
        start..(start + u64::from(self.block_bytes)).min(self.size_bytes)
    }

    pub fn length_of(self, block: u32) -> usize {
        let bytes = self.bytes_of(block);
        (bytes.end - bytes.start) as usize
    }

    /// The blocks in which bytes lie, as far as they are within the device.
    pub fn blocks_of(self, offset: u64, length: u64) -> Range<u32> {
        let end = offset.saturating_add(length).min(self.size_bytes);
        if offset >= end {
            return 0..0;
        }
        let block = u64::from(self.block_bytes);
        (offset / block) as u32..end.div_ceil(block) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn absurd_shapes_are_refused() {
        for (size, block) in [(0, 4096), (4096, 0), (4097, 4096), (4096, 4095), (4096, 32 << 20)] {
            assert_eq!(Shape::new(size, block).unwrap_err().code, Code::InvalidArgument, "{size} {block}");
        }
        assert_eq!(Shape::new(u64::MAX - 4095, 4096).unwrap_err().code, Code::LimitExceeded);
    }

    proptest! {
        #[test]
        fn blocks_cover_the_device_once(size in 1u64..2000, block in 1u32..300) {
            let shape = Shape::new(size * 4096, block * 4096).unwrap();
            let mut at = 0;
            for block in 0..shape.blocks() {
                let bytes = shape.bytes_of(block);
                prop_assert_eq!(bytes.start, at);
                prop_assert!(bytes.end > bytes.start);
                at = bytes.end;
            }
            prop_assert_eq!(at, shape.size_bytes());
        }

        #[test]
        fn a_range_is_within_its_blocks(offset in any::<u64>(), length in any::<u64>(), size in 1u64..5000) {
            let shape = Shape::new(size * 4096, 512 * 1024).unwrap();
            let blocks = shape.blocks_of(offset, length);
            prop_assert!(blocks.end <= shape.blocks());
            let end = offset.saturating_add(length).min(shape.size_bytes());
            if offset < end {
                prop_assert!(shape.bytes_of(blocks.start).start <= offset);
                prop_assert!(shape.bytes_of(blocks.end - 1).end >= end);
                prop_assert!(shape.bytes_of(blocks.start).end > offset);
            } else {
                prop_assert!(blocks.is_empty());
            }
        }
    }
}
