//! What could not be had a moment ago. The kernel takes an error of what it reads ahead for no answer, and reads once more, page by page and for
//! each file system on top of the other: without this, a reader would wait for its deadline up to nine times, as measured.

use std::collections::BTreeMap;
use std::ops::Range;

use super::waits::BlockKey;

/// The kernel's own second tries come within microseconds, a caller's next read later than this.
const SAME_READ_MS: u64 = 100;

#[derive(Default)]
pub struct Failures {
    /// When a reader of each block got an error.
    blocks: BTreeMap<BlockKey, u64>,
    /// When one did, and nothing of the device had come while it waited.
    devices: BTreeMap<u32, u64>,
}

impl Failures {
    /// A reader got an error: none of the blocks could be had, or nothing of the device at all.
    pub fn note(&mut self, blocks: impl Iterator<Item = BlockKey>, silent: Option<u32>, now_ms: u64) {
        self.blocks.retain(|_, failed_ms| is_fresh(*failed_ms, now_ms));
        self.devices.retain(|_, failed_ms| is_fresh(*failed_ms, now_ms));
        self.blocks.extend(blocks.map(|block| (block, now_ms)));
        self.devices.extend(silent.map(|device| (device, now_ms)));
    }

    /// Whether who waits for these blocks of a device is one who has just been given an error.
    pub fn are_known(&self, device: u32, missing: &[u32], now_ms: u64) -> bool {
        let Some(range) = range_of(missing) else { return false };
        let blocks = self.blocks.range((device, range.start)..(device, range.end));
        let failed = blocks.filter(|((_, block), _)| missing.contains(block)).map(|(_, failed_ms)| failed_ms);
        failed.chain(self.devices.get(&device)).any(|failed_ms| is_fresh(*failed_ms, now_ms))
    }
}

fn is_fresh(failed_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(failed_ms) < SAME_READ_MS
}

/// Of blocks in order.
fn range_of(blocks: &[u32]) -> Option<Range<u32>> {
    Some(*blocks.first()?..blocks.last()? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_try_is_known_and_the_next_read_is_not() {
        let mut failures = Failures::default();
        failures.note([(7, 3), (7, 4)].into_iter(), None, 1000);
        assert!(failures.are_known(7, &[2, 4], 1000 + SAME_READ_MS - 1));
        assert!(!failures.are_known(7, &[2, 5], 1000) && !failures.are_known(8, &[3], 1000));
        assert!(!failures.are_known(7, &[3], 1000 + SAME_READ_MS));
    }

    #[test]
    fn of_a_silent_device_nothing_can_be_had() {
        let mut failures = Failures::default();
        failures.note(std::iter::empty(), Some(7), 1000);
        assert!(failures.are_known(7, &[9], 1001) && !failures.are_known(8, &[9], 1001));
        failures.note(std::iter::empty(), None, 2000);
        assert!(failures.devices.is_empty());
    }
}
