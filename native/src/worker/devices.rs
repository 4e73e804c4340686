//! The devices that are being filled, by all the names that they go by.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::map::PresenceMap;
use crate::device::spec::DeviceSpec;
use crate::error::{Code, Error, Result};
use crate::ids::{ContentId, Id};
use crate::journal::now_ms;
use crate::touches::TouchedPages;

#[derive(Default)]
pub struct Marking {
    /// Between the mark and the mount: only of a file that was opened under a mark can the kernel ask later.
    pub is_opening: bool,
}

/// A device that is being filled.
pub struct Device {
    /// In the holder's table.
    pub index: u32,
    pub spec: DeviceSpec,
    /// Opened before it was marked: what is read and written through it asks nobody.
    pub raw: File,
    pub map_file: File,
    pub map: PresenceMap,
    /// When the last block came, in the clock of [`now_ms`].
    arrived_ms: AtomicU64,
    /// As a file that we serve; of its own file the holder knows.
    touched: Mutex<TouchedPages>,
    /// Which volumes have used it, for messages.
    volumes: Mutex<BTreeSet<Id>>,
    /// Its whole is what its id says: this worker has seen it.
    is_verified: AtomicBool,
    marking: Mutex<Marking>,
}

impl Device {
    pub fn new(index: u32, spec: DeviceSpec, raw: File, map_file: File, map: PresenceMap) -> Self {
        let touched = Mutex::new(TouchedPages::of(spec.size_bytes));
        let (arrived_ms, is_verified) = (AtomicU64::new(0), AtomicBool::new(false));
        let (volumes, marking) = (Mutex::default(), Mutex::default());
        Self { index, spec, raw, map_file, map, arrived_ms, touched, volumes, is_verified, marking }
    }

    pub fn note_volume(&self, volume: &Id) {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).insert(volume.clone());
    }

    /// As messages call it: by its own name and by those of its volumes.
    pub fn name(&self) -> String {
        let volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<&str> = volumes.iter().map(Id::as_str).collect();
        format!("{} of volume {}", self.spec.id, names.join(", "))
    }

    /// Whether this part, or some of it, is read for the first time, as far as this worker knows.
    pub fn touch(&self, offset: u64, length: u64) -> bool {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).touch(offset, length)
    }

    /// Whether all blocks are here.
    pub fn is_complete(&self) -> bool {
        self.map.has_all(0..self.map.shape().blocks())
    }

    /// The same, from a block that has come on: what is filled in order has its next gap right behind it, and a large device is not looked through each time.
    pub fn is_complete_around(&self, block: u32) -> bool {
        self.map.has_all(block..self.map.shape().blocks()) && self.map.has_all(0..block)
    }

    /// Whoever marks the device's file, or takes the mark away, does so alone.
    pub fn marking(&self) -> MutexGuard<'_, Marking> {
        self.marking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_verified(&self) -> bool {
        self.is_verified.load(Relaxed)
    }

    pub fn note_verified(&self) {
        self.is_verified.store(true, Relaxed);
    }

    pub fn note_arrival(&self) {
        self.arrived_ms.store(now_ms(), Relaxed);
    }

    pub fn is_silent_since(&self, ms: u64) -> bool {
        self.arrived_ms.load(Relaxed) < ms
    }

    /// Its number as a file of ours: the same for every worker, and for every mount.
    pub fn node(&self) -> u64 {
        node_of(&self.spec.id)
    }
}

/// The first half of an id's first half; never that of the directory, since the highest bit is set.
fn node_of(id: &ContentId) -> u64 {
    u64::from_str_radix(&id.as_str()[..16], 16).unwrap_or(0) | 1 << 63
}

#[derive(Default)]
pub struct Devices {
    by_id: BTreeMap<ContentId, Arc<Device>>,
    by_index: BTreeMap<u32, Arc<Device>>,
    by_node: BTreeMap<u64, Arc<Device>>,
}

impl Devices {
    pub fn put(&mut self, device: Device) {
        let device = Arc::new(device);
        self.by_index.insert(device.index, Arc::clone(&device));
        self.by_node.insert(device.node(), Arc::clone(&device));
        self.by_id.insert(device.spec.id.clone(), device);
    }

    pub fn remove(&mut self, device: &Device) {
        self.by_index.remove(&device.index);
        self.by_node.remove(&device.node());
        self.by_id.remove(&device.spec.id);
    }

    pub fn of_id(&self, id: &ContentId) -> Option<Arc<Device>> {
        self.by_id.get(id).cloned()
    }

    pub fn of_index(&self, index: u32) -> Option<Arc<Device>> {
        self.by_index.get(&index).cloned()
    }

    pub fn of_node(&self, node: u64) -> Option<Arc<Device>> {
        self.by_node.get(&node).cloned()
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.by_id.values()
    }

    /// # Errors
    /// [`Code::Busy`] where another has the same number as a file: who makes two such ids has tried quadrillions.
    pub fn expect_free_node(&self, id: &ContentId) -> Result<()> {
        match self.by_node.get(&node_of(id)) {
            Some(other) if other.spec.id != *id => {
                let message = format!("the device {id} can't be told from {}", other.spec.id);
                Err(Error::new(Code::Busy, message).hint("unmount the volumes of one of them first"))
            }
            _ => Ok(()),
        }
    }
}
