//! Who waits for which blocks. Pure state: no clock, no descriptors.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A block of a device that is being filled, by the device's number.
pub type BlockKey = (u32, u32);

/// Readers that wait, each for some blocks of one device, under a key that tells it from all others.
pub struct Waits<Key> {
    readers: BTreeMap<Key, Reader>,
    /// For which readers each block is wanted.
    wanted: BTreeMap<BlockKey, BTreeSet<Key>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    pub device: u32,
    pub blocks: Range<u32>,
    /// Where its read begins, for messages.
    pub offset: u64,
    pub since_ms: u64,
    missing: u32,
}

impl<Key: Copy + Ord> Waits<Key> {
    pub fn new() -> Self {
        Self { readers: BTreeMap::new(), wanted: BTreeMap::new() }
    }

    pub fn contains(&self, key: Key) -> bool {
        self.readers.contains_key(&key)
    }

    /// A reader waits for those of its blocks that are missing, of which there must be one. Gives those that nobody has waited for until now.
    pub fn add(
        &mut self,
        key: Key,
        device: u32,
        missing: &[u32],
        blocks: Range<u32>,
        offset: u64,
        since_ms: u64,
    ) -> Vec<u32> {
        let reader = Reader { device, blocks, offset, since_ms, missing: missing.len() as u32 };
        self.readers.insert(key, reader);
        let mut fresh = Vec::new();
        for block in missing {
            let readers = self.wanted.entry((device, *block)).or_default();
            if readers.is_empty() {
                fresh.push(*block);
            }
            readers.insert(key);
        }
        fresh
    }

    /// A block is here. Gives the readers for which it was the last.
    pub fn arrived(&mut self, block: BlockKey) -> Vec<Key> {
        let readers = self.wanted.remove(&block).unwrap_or_default();
        let is_done = |key: &Key| match self.readers.get_mut(key) {
            Some(reader) => {
                reader.missing -= 1;
                reader.missing == 0
            }
            None => false,
        };
        let done: Vec<Key> = readers.into_iter().filter(is_done).collect();
        for key in &done {
            self.readers.remove(key);
        }
        done
    }

    /// A block can't be had: whoever waits for it waits for nothing any more.
    pub fn failed(&mut self, block: BlockKey) -> Vec<(Key, Reader)> {
        let readers = self.wanted.get(&block).cloned().unwrap_or_default();
        readers.into_iter().filter_map(|key| self.remove(key).map(|reader| (key, reader))).collect()
    }

    pub fn remove(&mut self, key: Key) -> Option<Reader> {
        let reader = self.readers.remove(&key)?;
        for block in reader.blocks.clone() {
            if let Some(readers) = self.wanted.get_mut(&(reader.device, block)) {
                readers.remove(&key);
                if readers.is_empty() {
                    self.wanted.remove(&(reader.device, block));
                }
            }
        }
        Some(reader)
    }

    /// Readers whose keys are such.
    pub fn those(&self, is_meant: impl Fn(&Key, &Reader) -> bool) -> Vec<Key> {
        self.readers.iter().filter(|(key, reader)| is_meant(key, reader)).map(|(key, _)| *key).collect()
    }

    /// Readers that wait since before `ms`.
    pub fn older_than(&self, ms: u64) -> Vec<Key> {
        self.those(|_, reader| reader.since_ms < ms)
    }

    /// Everything that somebody waits for.
    pub fn wanted(&self) -> impl Iterator<Item = BlockKey> {
        self.wanted.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn many_readers_of_a_block_are_one_want() {
        let mut waits = Waits::new();
        assert_eq!(waits.add(1, 0, &[4, 5], 4..6, 0, 10), [4, 5]);
        assert_eq!(waits.add(2, 0, &[5, 6], 4..7, 0, 20), [6]);
        assert!(waits.arrived((0, 5)).is_empty());
        assert_eq!(waits.arrived((0, 4)), [1]);
        assert_eq!(waits.older_than(21), [2]);
        assert_eq!(waits.failed((0, 6)).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [2]);
        assert_eq!(waits.wanted().count(), 0);
    }

    proptest! {
        #[test]
        fn every_reader_is_answered_once(
            readers in prop::collection::vec(prop::collection::btree_set(0u32..12, 1..6), 1..20),
            fates in prop::collection::vec((0u32..12, any::<bool>()), 0..40),
        ) {
            let mut waits = Waits::new();
            for (key, blocks) in readers.iter().enumerate() {
                let missing: Vec<u32> = blocks.iter().copied().collect();
                waits.add(key, 7, &missing, missing[0]..missing[missing.len() - 1] + 1, 0, 0);
            }
            let mut answered = vec![0; readers.len()];
            let all = (0..12).map(|block| (block, true));
            for (block, arrives) in fates.into_iter().chain(all) {
                let keys = match arrives {
                    true => waits.arrived((7, block)),
                    false => waits.failed((7, block)).into_iter().map(|(key, _)| key).collect(),
                };
                for key in keys {
                    answered[key] += 1;
                }
            }
            prop_assert!(answered.iter().all(|times| *times == 1), "{:?}", answered);
            prop_assert_eq!(waits.wanted().count(), 0);
        }
    }
}
