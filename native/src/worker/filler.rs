//! Filling devices: readers that wait become wishes that the daemon hears, and blocks that it brings become answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::answers::ReaderKey;
use super::blocks::{self, BlockSource};
use super::devices::{Device, Devices};
use super::failures::Failures;
use super::holding::{HeldFiles, Holding, Left};
use super::serving::Serving;
use super::waits::Waits;
use crate::content::ContentDir;
use crate::device::map::PresenceMap;
use crate::device::spec::DeviceSpec;
use crate::error::{Code, Context, Error, Result};
use crate::ids::{ContentId, Id};
use crate::journal::now_ms;
use crate::touches::Touch;

/// After a failed attempt to find another holder.
const PAUSE: Duration = Duration::from_millis(100);

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

pub struct Filler {
    pub(super) holding: Holding,
    maps: PathBuf,
    blobs: ContentDir,
    pub(super) deadline_ms: u64,
    devices: RwLock<Devices>,
    waits: Mutex<Waits<ReaderKey>>,
    failures: Mutex<Failures>,
    pub(super) serving: Serving,
    listener: Mutex<Option<SyncSender<Wish>>>,
    /// This process ends, and its holder perhaps with it.
    is_ending: AtomicBool,
}

impl Filler {
    /// Below `root` are the maps of devices, and the files that are served.
    pub fn start(
        holding: Holding,
        left: Left,
        root: &Path,
        blobs: ContentDir,
        deadline_ms: u64,
    ) -> Result<Arc<Self>> {
        let filler = Arc::new(Self {
            holding,
            maps: root.join("devices"),
            blobs,
            deadline_ms,
            devices: RwLock::default(),
            waits: Mutex::new(Waits::new()),
            failures: Mutex::default(),
            serving: Serving::at(root.join("fuse")),
            listener: Mutex::new(None),
            is_ending: AtomicBool::new(false),
        });
        for HeldFiles { index, spec, raw, map: map_file } in left.devices {
            let map = PresenceMap::writable(&map_file, spec.shape()?)?;
            filler.devices_mut().put(Device::new(index, spec, raw, map_file, map));
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
        if let Some(connection) = left.connection {
            filler.serve_on(connection)?;
        }
        Ok(filler)
    }

    /// The device is filled from now on, on demand, as a file that we serve.
    pub fn hold(&self, spec: &DeviceSpec, raw: File) -> Result<()> {
        if self.devices().of_id(&spec.id).is_some() {
            return Ok(());
        }
        self.devices().expect_free_node(&spec.id)?;
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
        self.devices_mut().put(Device::new(index, spec.clone(), raw, map_file, map));
        Ok(())
    }

    /// For messages: whose device it is. Nothing where it is not being filled.
    pub fn note_volume(&self, id: &ContentId, volume: &Id) {
        if let Some(device) = self.devices().of_id(id) {
            device.note_volume(volume);
        }
    }

    /// The device's own file may be opened to be mounted from now on. It must be held already: an event of a device that nobody knows is refused.
    /// It stays marked until [`Filler::opened`], though nothing be missing.
    pub fn mark(&self, id: &ContentId) -> Result<()> {
        let device = self.require(id)?;
        let mut marking = device.marking();
        marking.is_opening = true;
        self.holding.group.mark(&device.raw)
    }

    /// The device's own file has been opened, or will not be.
    pub fn opened(&self, id: &ContentId) {
        if let Some(device) = self.devices().of_id(id) {
            device.marking().is_opening = false;
            self.unmark_complete(&device, 0);
        }
    }

    /// Nobody reads the device any more.
    pub fn release(&self, id: &ContentId) -> Result<()> {
        let Some(device) = self.devices().of_id(id) else { return Ok(()) };
        device.map.settle(&device.raw)?;
        self.forget(&device)
    }

    /// Whether all of the device is here, on the disk, and right.
    ///
    /// # Errors
    /// [`Code::InvalidContent`] where the whole is not what its name says; everything is missing again then, and where `is_mounted`, its own file, readers
    /// are asked again.
    pub fn is_whole(&self, id: &ContentId, is_mounted: bool) -> Result<bool> {
        let Some(device) = self.devices().of_id(id) else { return Ok(false) };
        if device.is_verified() {
            return Ok(true);
        }
        if !device.is_complete() {
            return Ok(false);
        }
        device.map.settle(&device.raw)?;
        let found = sha256_of(&device.raw)?;
        if found != id.as_str() {
            let _alone = device.marking();
            if is_mounted {
                self.holding.group.mark(&device.raw)?;
            }
            device.map.clear();
            return Err(Error::new(
                Code::InvalidContent,
                format!("the device {id} is complete, and is {found}"),
            )
            .hint("it is filled anew; if this happens again, check the disk"));
        }
        device.note_verified();
        Ok(true)
    }

    /// The device is whole: from now on the kernel reads its own file alone.
    pub fn unmark(&self, id: &ContentId) -> Result<()> {
        self.holding.group.unmark(&self.require(id)?.raw)
    }

    /// The device is whole, and nobody reads it through us any more.
    pub fn retire(&self, id: &ContentId) -> Result<()> {
        let device = self.require(id)?;
        self.forget(&device)?;
        let _ = fs::remove_file(self.map_path(id));
        Ok(())
    }

    /// Fills blocks from a blob. Each that arrives answers its readers at once.
    pub fn fill(&self, id: &ContentId, blob: &ContentId, sources: &[BlockSource]) -> Result<Vec<Failed>> {
        let device = self.require(id)?;
        let blob = self.blobs.open_blob(blob)?;
        let failed = sources
            .iter()
            .filter_map(|source| {
                let filled = blocks::fill(&blob, *source, &device.raw, &device.map);
                match filled {
                    Ok(()) => self.arrived(&device, source.block),
                    Err(ref error) => self.refuse_block(&device, source.block, &error.message),
                }
                filled.err().map(|error| Failed { block: source.block, error })
            })
            .collect();
        if let Some(last) = sources.last() {
            self.unmark_complete(&device, last.block);
        }
        Ok(failed)
    }

    /// Where all is here, from a block that has come on, there is nothing left to ask about. Whether the whole is right is found out later, and everything
    /// that is there was right when it came.
    fn unmark_complete(&self, device: &Device, block: u32) {
        let marking = device.marking();
        if marking.is_opening || !device.is_complete_around(block) {
            return;
        }
        if let Err(error) = self.holding.group.unmark(&device.raw) {
            tracing::warn!(device = %device.spec.id, %error, "a complete device stays marked for now");
        }
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
            if let Some(device) = self.devices().of_index(index) {
                let _ = sender.try_send(Wish { device: device.spec.id.clone(), blocks });
            }
        }
        *self.listener() = Some(sender);
        receiver
    }

    pub fn residency(&self, id: &ContentId) -> Option<Residency> {
        let device = self.devices().of_id(id)?;
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
            .filter_map(|(slot, id)| held.of_id(id).map(|device| (device.index, slot)))
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
        self.devices().all().map(|device| device.spec.id.clone()).collect()
    }

    /// Everything that is here is on the disk when this returns.
    pub fn settle(&self) {
        let devices: Vec<_> = self.devices().all().cloned().collect();
        for device in devices {
            if let Err(error) = device.map.settle(&device.raw) {
                tracing::warn!(device = %device.spec.id, %error, "a device is not on the disk yet");
            }
        }
    }

    pub fn goodbye(&self) {
        self.settle();
        self.is_ending.store(true, Release);
        if self.held().is_empty() {
            self.holding.goodbye();
        }
    }

    /// When the holder has died with all its heirs, another takes their place.
    fn watch_holder(&self) {
        loop {
            self.holding.wait_for_end();
            if self.is_ending.load(Acquire) {
                return;
            }
            if let Err(error) = self.find_holder() {
                tracing::error!(%error, "there is no holder for now");
                thread::sleep(PAUSE);
            }
        }
    }

    fn find_holder(&self) -> Result<()> {
        if self.holding.reconnect()? {
            return Ok(());
        }
        tracing::error!("the holder has died with all its heirs; another takes their place");
        let devices = self.devices();
        let held = devices.all().map(|device| (device.index, &device.spec, &device.raw, &device.map_file));
        let connection = self.serving.connection();
        self.holding.replace(held, connection.as_deref())
    }

    /// Marks go first: an event of what nobody knows would be refused.
    fn forget(&self, device: &Device) -> Result<()> {
        self.holding.group.unmark(&device.raw)?;
        self.holding.release(device.index)?;
        self.devices_mut().remove(device);
        self.refuse_readers(|_, reader| reader.device == device.index);
        Ok(())
    }

    fn require(&self, id: &ContentId) -> Result<Arc<Device>> {
        self.devices().of_id(id).ok_or_else(|| {
            Error::new(Code::NotFound, format!("the device {id} is not being filled"))
                .hint("mount its volume first")
        })
    }

    fn map_path(&self, id: &ContentId) -> PathBuf {
        self.maps.join(id.as_str())
    }

    pub(super) fn devices(&self) -> RwLockReadGuard<'_, Devices> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn devices_mut(&self) -> RwLockWriteGuard<'_, Devices> {
        self.devices.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listener(&self) -> MutexGuard<'_, Option<SyncSender<Wish>>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn waits(&self) -> MutexGuard<'_, Waits<ReaderKey>> {
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
