//! Filling devices: readers that wait become wishes that the daemon hears, and blocks that it brings become answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::blocks::{self, BlockSource};
use super::holding::{HeldFiles, Holding};
use super::waits::Waits;
use crate::content::ContentDir;
use crate::device::map::PresenceMap;
use crate::device::spec::DeviceSpec;
use crate::error::{Code, Context, Error, Result};
use crate::ids::ContentId;
use crate::journal::{State, now_ms};
use crate::touches::Touch;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Wishes that wait for a daemon that does not listen. Those that find no room are said when it listens anew.
const MAX_WISHES: usize = 4096;

/// Blocks that readers wait for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    pub device: ContentId,
    pub blocks: Vec<u32>,
}

/// A block that could not be filled.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    pub block: u32,
    pub error: Error,
}

/// How much of a device is here.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Residency {
    pub device: ContentId,
    pub blocks: u32,
    pub present_blocks: u32,
}

/// A part of a device that somebody has come to read for the first time.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceTouch {
    /// Of the device in its volume, from 0.
    pub slot: u32,
    pub offset: u64,
    pub length: u32,
    /// Whether all of it was here already.
    pub was_present: bool,
    pub ago_ms: u32,
}

/// A device that is being filled.
pub struct Device {
    index: u32,
    spec: DeviceSpec,
    raw: File,
    map_file: File,
    map: PresenceMap,
}

/// A slot of the journal, and which event it had.
type EventKey = (u64, usize);

#[derive(Default)]
struct Devices {
    by_id: BTreeMap<ContentId, Arc<Device>>,
    by_index: BTreeMap<u32, Arc<Device>>,
}

pub struct Filler {
    holding: Holding,
    maps: PathBuf,
    blobs: ContentDir,
    deadline_ms: u64,
    devices: RwLock<Devices>,
    waits: Mutex<Waits<EventKey>>,
    listener: Mutex<Option<SyncSender<Wish>>>,
}

impl Filler {
    /// `maps` is where the maps of devices are kept.
    pub fn start(
        holding: Holding,
        held: Vec<HeldFiles>,
        maps: PathBuf,
        blobs: ContentDir,
        deadline_ms: u64,
    ) -> Result<Arc<Self>> {
        let filler = Arc::new(Self {
            holding,
            maps,
            blobs,
            deadline_ms,
            devices: RwLock::default(),
            waits: Mutex::new(Waits::new()),
            listener: Mutex::new(None),
        });
        for HeldFiles { index, spec, raw, map: map_file } in held {
            let map = PresenceMap::writable(&map_file, spec.shape()?)?;
            filler.keep(Device { index, spec, raw, map_file, map });
        }
        for (name, run) in [
            ("events", Self::take_events as fn(&Self)),
            ("deadlines", Self::watch_deadlines),
            ("holder", Self::watch_holder),
        ] {
            let filler = Arc::clone(&filler);
            thread::Builder::new()
                .name(name.into())
                .spawn(move || run(&filler))
                .context(|| format!("starting the thread of {name}"))?;
        }
        Ok(filler)
    }

    /// The device is filled from now on, on demand, and its file may be mounted.
    pub fn hold(&self, spec: &DeviceSpec, raw: File) -> Result<()> {
        if self.devices().by_id.contains_key(&spec.id) {
            return Ok(());
        }
        let shape = spec.shape()?;
        if raw.metadata().context(|| format!("examining the device {}", spec.id))?.len() != spec.size_bytes {
            let message =
                format!("the file of the device {} has another size than {}", spec.id, spec.size_bytes);
            return Err(Error::new(Code::InvalidContent, message));
        }
        let (map_file, map) = PresenceMap::open(&self.map_path(&spec.id), &raw, shape)?;
        let lost = map.verify(&raw)?;
        if lost > 0 {
            tracing::warn!(device = %spec.id, blocks = lost, "blocks were lost with an unclean stop, and will be fetched again");
        }
        let index = self.holding.hold(spec, &raw, &map_file)?;
        let device = Device { index, spec: spec.clone(), raw, map_file, map };
        // First known, then marked: an event of a device that nobody knows is refused.
        self.keep(device);
        let marked = self.require(&spec.id).and_then(|device| self.holding.group.mark(&device.raw));
        if marked.is_err() {
            self.forget(&spec.id)?;
        }
        marked
    }

    /// Nobody reads the device any more.
    pub fn release(&self, id: &ContentId) -> Result<()> {
        let Some(device) = self.devices().by_id.get(id).cloned() else { return Ok(()) };
        device.map.settle(&device.raw)?;
        self.holding.group.unmark(&device.raw)?;
        self.forget(id)
    }

    /// The device is complete: from now on the kernel reads it alone. Gives `false` where blocks are missing.
    ///
    /// # Errors
    /// [`Code::InvalidContent`] where the whole is not what its name says; everything is missing again then.
    pub fn retire(&self, id: &ContentId) -> Result<bool> {
        let Some(device) = self.devices().by_id.get(id).cloned() else { return Ok(true) };
        if !device.map.has_all(0..device.map.shape().blocks()) {
            return Ok(false);
        }
        device.map.settle(&device.raw)?;
        let found = sha256_of(&device.raw)?;
        if found != id.as_str() {
            device.map.clear();
            return Err(Error::new(
                Code::InvalidContent,
                format!("the device {id} is complete, and is {found}"),
            )
            .hint("it is filled anew; if this happens again, check the disk"));
        }
        self.holding.group.unmark(&device.raw)?;
        self.forget(id)?;
        let _ = fs::remove_file(self.map_path(id));
        Ok(true)
    }

    /// Fills blocks from a blob. Each that arrives answers its readers at once.
    pub fn fill(&self, id: &ContentId, blob: &ContentId, sources: &[BlockSource]) -> Result<Vec<Failed>> {
        let device = self.require(id)?;
        let blob = self.blobs.open_blob(blob)?;
        Ok(sources
            .iter()
            .filter_map(|source| {
                let filled = blocks::fill(&blob, *source, &device.raw, &device.map);
                match filled {
                    Ok(()) => self.arrived(&device, source.block),
                    Err(ref error) => self.refuse_block(&device, source.block, &error.message),
                }
                filled.err().map(|error| Failed { block: source.block, error })
            })
            .collect())
    }

    /// Blocks can't be had: whoever waits for them gets an error. The next read asks again.
    pub fn refuse(&self, id: &ContentId, blocks: &[u32], reason: &str) -> Result<()> {
        let device = self.require(id)?;
        for block in blocks {
            self.refuse_block(&device, *block, reason);
        }
        Ok(())
    }

    /// What readers wait for, from now on, and what they wait for already. One listens: the last that came.
    pub fn listen(&self) -> Receiver<Wish> {
        let (sender, receiver) = sync_channel(MAX_WISHES);
        let waits = self.waits();
        let mut blocks: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (index, block) in waits.wanted() {
            blocks.entry(index).or_default().push(block);
        }
        for (index, blocks) in blocks {
            if let Some(device) = self.devices().by_index.get(&index) {
                let _ = sender.try_send(Wish { device: device.spec.id.clone(), blocks });
            }
        }
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    pub fn residency(&self, id: &ContentId) -> Option<Residency> {
        let device = self.devices().by_id.get(id).cloned()?;
        let blocks = device.map.shape().blocks();
        Some(Residency { device: id.clone(), blocks, present_blocks: device.map.present() })
    }

    /// The blocks of a device that are here, as the daemon asks before it fetches.
    pub fn present(&self, id: &ContentId) -> Result<Vec<u32>> {
        let device = self.require(id)?;
        Ok((0..device.map.shape().blocks()).filter(|block| device.map.has(*block)).collect())
    }

    /// What readers have touched of some devices, in order.
    pub fn touches(&self, devices: &[ContentId]) -> Vec<DeviceTouch> {
        let held = self.devices();
        let slots: BTreeMap<u32, u32> = (0u32..)
            .zip(devices)
            .filter_map(|(slot, id)| held.by_id.get(id).map(|device| (device.index, slot)))
            .collect();
        let now = now_ms() as u32;
        let touches = self.holding.touches.all().into_iter();
        touches
            .filter_map(|touch| {
                let ago_ms = now.wrapping_sub(touch.at_ms);
                let Touch { offset, length, was_present, .. } = touch;
                slots.get(&touch.device).map(|slot| DeviceTouch {
                    slot: *slot,
                    offset,
                    length,
                    was_present,
                    ago_ms,
                })
            })
            .collect()
    }

    pub fn held(&self) -> BTreeSet<ContentId> {
        self.devices().by_id.keys().cloned().collect()
    }

    /// Everything that is here is on the disk when this returns.
    pub fn settle(&self) {
        let devices: Vec<_> = self.devices().by_id.values().cloned().collect();
        for device in devices {
            if let Err(error) = device.map.settle(&device.raw) {
                tracing::warn!(device = %device.spec.id, %error, "a device is not on the disk yet");
            }
        }
    }

    pub fn goodbye(&self) {
        self.settle();
        if self.held().is_empty() {
            self.holding.goodbye();
        }
    }

    fn take_events(&self) {
        loop {
            self.look_at_journal();
            let mut asked = [PollFd::new(&self.holding.wake_worker, PollFlags::IN)];
            let _ = poll(&mut asked, None);
            let _ = rustix::io::read(self.holding.wake_worker.as_fd(), &mut [0; 8]);
        }
    }

    fn look_at_journal(&self) {
        let journal = &self.holding.journal;
        for (slot, state) in journal.in_use() {
            if state != State::Waiting {
                continue;
            }
            let wait = journal.waiting(slot);
            let key = (wait.sequence, slot);
            let device = self.devices().by_index.get(&wait.device).cloned();
            let Some(device) = device else {
                self.decide(key, false);
                continue;
            };
            let blocks = device.map.shape().blocks_of(wait.offset, wait.length);
            let mut waits = self.waits();
            if waits.contains(key) {
                continue;
            }
            let missing: Vec<u32> = blocks.clone().filter(|block| !device.map.has(*block)).collect();
            if missing.is_empty() {
                self.decide(key, true);
                continue;
            }
            let fresh = waits.add(key, wait.device, &missing, blocks, wait.offset, wait.since_ms);
            drop(waits);
            // What has arrived between the look at the map and the note in the table nobody else will tell of.
            for block in missing.into_iter().filter(|block| device.map.has(*block)) {
                self.arrived(&device, block);
            }
            self.say(&device, fresh);
        }
    }

    fn say(&self, device: &Device, blocks: Vec<u32>) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(listener), false) = (&*listener, blocks.is_empty()) {
            let _ = listener.try_send(Wish { device: device.spec.id.clone(), blocks });
        }
    }

    fn arrived(&self, device: &Device, block: u32) {
        let done = self.waits().arrived((device.index, block));
        for key in done {
            self.decide(key, true);
        }
    }

    fn refuse_block(&self, device: &Device, block: u32, reason: &str) {
        let refused = self.waits().failed((device.index, block));
        for (key, reader) in refused {
            tracing::warn!(device = %device.spec.id, offset = reader.offset, block, reason, "a read fails");
            self.decide(key, false);
        }
    }

    fn decide(&self, (sequence, slot): EventKey, allow: bool) {
        if self.holding.journal.decide(slot, sequence, allow) {
            self.holding.wake();
        }
    }

    fn watch_deadlines(&self) {
        loop {
            thread::sleep(TICK);
            let overdue = self.waits().older_than(now_ms().saturating_sub(self.deadline_ms));
            for key in overdue {
                if let Some(reader) = self.waits().remove(key) {
                    let device =
                        self.devices().by_index.get(&reader.device).map(|device| device.spec.id.to_string());
                    let waited_ms = now_ms() - reader.since_ms;
                    tracing::warn!(
                        device,
                        offset = reader.offset,
                        waited_ms,
                        "a read fails: the daemon has not brought it in time"
                    );
                    self.decide(key, false);
                }
            }
        }
    }

    /// When the holder has died with all its heirs, another takes their place.
    fn watch_holder(&self) {
        loop {
            self.holding.wait_for_end();
            tracing::error!("the holder has died with all its heirs; another takes their place");
            let devices = self.devices();
            let held = devices
                .by_id
                .values()
                .map(|device| (device.index, &device.spec, &device.raw, &device.map_file));
            if let Err(error) = self.holding.replace(held) {
                tracing::error!(%error, "there is no holder for now");
                thread::sleep(TICK);
            }
        }
    }

    fn keep(&self, device: Device) {
        let device = Arc::new(device);
        let mut devices = self.devices_mut();
        devices.by_index.insert(device.index, Arc::clone(&device));
        devices.by_id.insert(device.spec.id.clone(), device);
    }

    fn forget(&self, id: &ContentId) -> Result<()> {
        let device = self.require(id)?;
        self.holding.release(device.index)?;
        let mut devices = self.devices_mut();
        devices.by_index.remove(&device.index);
        devices.by_id.remove(id);
        Ok(())
    }

    fn require(&self, id: &ContentId) -> Result<Arc<Device>> {
        self.devices().by_id.get(id).cloned().ok_or_else(|| {
            Error::new(Code::NotFound, format!("the device {id} is not being filled"))
                .hint("mount its volume first")
        })
    }

    fn map_path(&self, id: &ContentId) -> PathBuf {
        self.maps.join(id.as_str())
    }

    fn devices(&self) -> RwLockReadGuard<'_, Devices> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn devices_mut(&self) -> RwLockWriteGuard<'_, Devices> {
        self.devices.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits(&self) -> MutexGuard<'_, Waits<EventKey>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const READ_BYTES: usize = 1024 * 1024;

fn sha256_of(file: &File) -> Result<String> {
    use std::os::unix::fs::FileExt;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    loop {
        let count = file.read_at(&mut buffer, at).context(|| "reading a device".into())?;
        if count == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&buffer[..count]);
        at += count as u64;
    }
}
