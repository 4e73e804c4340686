//! The verbs: each brings the machine to what was asked for, however often it is asked and whatever died in between.

mod layers;
mod lazy;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use crate::content::ContentDir;
use crate::error::{Code, Context, Error, Result};
use crate::ids::{ContentId, Id};
use crate::mount::overlay::{self, Look};
use crate::mount::{self, erofs, idmap, loopdev, table};
use crate::options::Options;
use crate::state::State;
use crate::wire::{
    Backend, Backing, LayerStatus, MountVolume, OverlayStatus, PrepareLayer, PrepareOverlay, VolumeStatus,
};
use crate::worker::filler::DeviceTouch;
use crate::worker::filling::Filling;
use crate::worker::holding::HolderOptions;
pub use layers::Layers;

/// As many as a snapshot may have; see `MAX_DEVICES` in protocol/src/snapshot.ts.
const MAX_DEVICES: usize = 64;

/// Says which process to tell of an upgrade: the launcher of the worker that has it locked.
const LOCK_NAME: &str = "lock";
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// Snapshots that are mounted, or are meant to be. Each is one line in the kernel's table of mounts; overlays over them are not counted.
const MAX_VOLUMES: usize = 1024;

pub struct Service {
    root: PathBuf,
    content: ContentDir,
    state: State,
    layers: Arc<Layers>,
    filling: Arc<Filling>,
    /// Volume backends that work here, best first.
    backends: OnceLock<Vec<Backend>>,
    reads_files: OnceLock<()>,
    _lock: File,
}

impl Service {
    /// Takes the root directory for this process alone, and takes down what a crash left there.
    pub fn open(options: Options) -> Result<Self> {
        let Options { root, content, blobs, read_deadline_ms: deadline_ms, cgroups, .. } = options;
        // Nobody else's to enter: below them lie set-user-ID programs of containers.
        for directory in ["", "volumes", "overlays", "layers", "devices"].map(|name| root.join(name)) {
            let doing = || format!("making {}", directory.display());
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).context(doing)?;
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).context(doing)?;
        }
        let root = fs::canonicalize(&root).context(|| format!("resolving {}", root.display()))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join(LOCK_NAME))
            .context(|| "making the lock file".into())?;
        take(&lock).map_err(|_| {
            Error::new(Code::Busy, format!("another helper already uses {}", root.display()))
                .hint("stop it first, or give this one a root directory of its own")
        })?;
        // Of one length, so that it can be written over where no room is left.
        lock.write_all_at(format!("{:<10}", parent_id()).as_bytes(), 0)
            .context(|| "writing the lock file".into())?;
        let state = State::load(root.clone())?;
        let layers = Arc::new(Layers::new(&root));
        let of_holders = HolderOptions { root: root.clone(), deadline_ms, cgroups };
        let filling = Filling::take_over(of_holders, ContentDir::new(blobs))?;
        let mut service = Self {
            root,
            content: ContentDir::new(content),
            state,
            layers,
            filling,
            backends: OnceLock::new(),
            reads_files: OnceLock::new(),
            _lock: lock,
        };
        service.name_devices();
        service.detach_what_nobody_fills()?;
        service.clean_up();
        Ok(service)
    }

    pub fn filling(&self) -> Arc<Filling> {
        Arc::clone(&self.filling)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn mount_volume(&mut self, wanted: MountVolume) -> Result<VolumeStatus> {
        if wanted.devices.len() > MAX_DEVICES {
            let message =
                format!("volume {} has {} devices; the limit is 64", wanted.volume, wanted.devices.len());
            return Err(Error::new(Code::LimitExceeded, message));
        }
        let volumes = &self.state.intents().volumes;
        let known = volumes.get(&wanted.volume);
        if known.is_none() && volumes.len() >= MAX_VOLUMES {
            return Err(Error::new(Code::LimitExceeded, format!("there are {MAX_VOLUMES} volumes already"))
                .hint("unmount those that nobody uses"));
        }
        if known.is_some_and(|known| !known.is_same_snapshot(&wanted)) {
            let message = format!("volume {} is another snapshot", wanted.volume);
            return Err(Error::new(Code::AlreadyExists, message).hint("unmount it first, or use another id"));
        }
        let is_new = known.is_none();
        let wanted = match known.filter(|known| self.is_mounted(&known.volume)) {
            Some(known) => MountVolume { backend: known.backend, ..wanted },
            None => self.with_backend(wanted)?,
        };
        self.state.update(|intents| drop(intents.volumes.insert(wanted.volume.clone(), wanted.clone())))?;
        if let Err(error) = self.ensure_mounted(&wanted) {
            if is_new {
                let _ = fs::remove_dir(self.volume_path(&wanted.volume));
                self.state.update(|intents| drop(intents.volumes.remove(&wanted.volume)))?;
            }
            return Err(error);
        }
        self.volume_status(&wanted)
    }

    pub fn umount_volume(&mut self, volume: &Id) -> Result<()> {
        if let Some(user) = self.overlays_of(volume).first() {
            return Err(Error::new(Code::Busy, format!("volume {volume} is in use by overlay {user}"))
                .hint("remove the overlay first: its container must have ended"));
        }
        let path = self.volume_path(volume);
        if let Some(user) = self.layers.user_of(&path)? {
            return Err(Error::new(Code::Busy, format!("volume {volume} is in use by layer {user}"))
                .hint("remove the containers and images that stand upon it first"));
        }
        if table::mounts()?.contains_key(&path) {
            mount::detach(&path)?;
        }
        remove_if_there(fs::remove_dir(&path)).context(|| format!("removing {}", path.display()))?;
        // Forgotten last: whoever is cut off asks again, and nothing stays held.
        if let Some(known) = self.state.intents().volumes.get(volume).cloned() {
            self.release_devices(&known)?;
        }
        self.state.update(|intents| drop(intents.volumes.remove(volume)))
    }

    pub fn touches(&self, volume: &Id) -> Result<Vec<DeviceTouch>> {
        let known = self.state.intents().volumes.get(volume);
        let known =
            known.ok_or_else(|| Error::new(Code::NotFound, format!("there is no volume {volume}")))?;
        let devices: Vec<ContentId> = known.devices.iter().map(|device| device.id.clone()).collect();
        Ok(self.filling.filler().map_or_else(Vec::new, |filler| filler.touches(&devices)))
    }

    pub fn volumes(&self) -> Result<Vec<VolumeStatus>> {
        self.state.intents().volumes.values().map(|volume| self.volume_status(volume)).collect()
    }

    pub fn prepare_overlay(&mut self, wanted: PrepareOverlay) -> Result<OverlayStatus> {
        let volume = self.state.intents().volumes.get(&wanted.volume).cloned().ok_or_else(|| {
            Error::new(Code::NotFound, format!("there is no volume {}", wanted.volume)).hint("mount it first")
        })?;
        let known = self.state.intents().overlays.get(&wanted.overlay);
        if known.is_some_and(|known| known.volume != wanted.volume || known.id_map != wanted.id_map) {
            let message = format!("overlay {} stands on another volume or id map", wanted.overlay);
            return Err(Error::new(Code::AlreadyExists, message).hint("remove it first, or use another id"));
        }
        let is_new = known.is_none();
        self.state.update(|intents| drop(intents.overlays.insert(wanted.overlay.clone(), wanted.clone())))?;
        match self.ensure_mounted(&volume).and_then(|()| self.ensure_overlay(&wanted)) {
            Err(error) if is_new => {
                self.remove_overlay(&wanted.overlay)?;
                Err(error)
            }
            outcome => outcome,
        }
    }

    pub fn remove_overlay(&mut self, overlay: &Id) -> Result<()> {
        let directory = self.overlay_path(overlay);
        if let Some(process) = table::user_of_upper(&directory.join("upper"), &directory.join("rootfs")) {
            let message =
                format!("overlay {overlay} is in use by process {process} in a mount namespace of its own");
            return Err(Error::new(Code::Busy, message).hint("its container must have ended"));
        }
        let mounts = table::mounts()?;
        for name in ["rootfs", "lower"] {
            let path = directory.join(name);
            if mounts.contains_key(&path) {
                mount::detach(&path)?;
            }
        }
        remove_if_there(fs::remove_dir_all(&directory))
            .context(|| format!("removing {}", directory.display()))?;
        self.state.update(|intents| drop(intents.overlays.remove(overlay)))
    }

    /// Where it stands upon a volume, that must be mounted.
    pub fn prepare_layer(&mut self, wanted: &PrepareLayer) -> Result<LayerStatus> {
        let Some(volume) = &wanted.volume else { return self.layers.prepare(wanted, None) };
        let known = self.state.intents().volumes.get(volume).cloned().ok_or_else(|| {
            Error::new(Code::NotFound, format!("there is no volume {volume}")).hint("mount it first")
        })?;
        self.ensure_mounted(&known)?;
        self.layers.prepare(wanted, Some(&self.volume_path(volume)))
    }

    pub fn layers(&self) -> Arc<Layers> {
        Arc::clone(&self.layers)
    }

    pub fn attach_loop(&mut self, image: &ContentId) -> Result<PathBuf> {
        self.state.update(|intents| {
            intents.loops.insert(image.clone());
        })?;
        if let Some(device) = self.loop_of(image) {
            return Ok(device);
        }
        let attached = self
            .content
            .open(image)
            .and_then(|file| loopdev::attach(&file, loopdev::Lifetime::UntilDetached));
        match attached {
            Ok(device) => Ok(device.path),
            Err(error) => {
                self.state.update(|intents| {
                    intents.loops.remove(image);
                })?;
                Err(error)
            }
        }
    }

    pub fn detach_loop(&mut self, image: &ContentId) -> Result<()> {
        if self.state.intents().loops.contains(image)
            && let Some(device) = self.loop_of(image)
        {
            if table::mounts()?.values().any(|mount| Path::new(&mount.source) == device) {
                return Err(Error::new(Code::Busy, format!("{} is mounted", device.display()))
                    .hint("unmount it first"));
            }
            loopdev::detach(&device)?;
        }
        self.state.update(|intents| {
            intents.loops.remove(image);
        })
    }

    fn ensure_mounted(&mut self, volume: &MountVolume) -> Result<()> {
        let path = self.volume_path(&volume.volume);
        if self.is_mounted(&volume.volume) {
            return Ok(());
        }
        // What was missing when it was asked for may be here now.
        let volume = self.with_backend(volume.clone())?;
        self.state.update(|intents| drop(intents.volumes.insert(volume.volume.clone(), volume.clone())))?;
        fs::create_dir_all(&path).context(|| format!("making {}", path.display()))?;
        let mounted = self.hold_devices(&volume).and_then(|backing| {
            let meta = self.content.open(&volume.meta)?;
            let devices = volume.devices.iter().map(|device| self.open_device(&volume, device));
            let devices = devices.collect::<Result<Vec<_>>>()?;
            let (mounted, backing) = match backing {
                Backing::Auto if self.reads_files() => erofs::mount_files_or_loops(&meta, &devices)?,
                Backing::File => (erofs::mount_files(&meta, &devices)?, Backing::File),
                Backing::Auto | Backing::Loop => (erofs::mount_loops(&meta, &devices)?, Backing::Loop),
            };
            mount::attach(mounted.as_fd(), &path)?;
            tracing::info!(volume = %volume.volume, devices = volume.devices.len(), backend = ?volume.backend, ?backing, "volume mounted");
            Ok(())
        });
        self.note_opened(&volume);
        if mounted.is_err() {
            self.release_devices(&volume)?;
        }
        mounted
    }

    fn ensure_overlay(&self, wanted: &PrepareOverlay) -> Result<OverlayStatus> {
        let directory = self.overlay_path(&wanted.overlay);
        let [upper, work, rootfs, mapped] =
            ["upper", "work", "rootfs", "lower"].map(|name| directory.join(name));
        let volume = self.volume_path(&wanted.volume);
        let mut look = Look::of(&volume)?;
        if let Some(map) = wanted.id_map {
            look.uid = look.uid.saturating_add(map.host_uid);
            look.gid = look.gid.saturating_add(map.host_gid);
        }
        overlay::make_directories(&upper, &work, look)?;
        fs::create_dir_all(&rootfs).context(|| format!("making {}", rootfs.display()))?;
        let mounts = table::mounts()?;
        let lower = match wanted.id_map {
            None => volume,
            Some(map) => {
                if !mounts.contains_key(&mapped) {
                    fs::create_dir_all(&mapped).context(|| format!("making {}", mapped.display()))?;
                    mount::attach(idmap::clone_mapped(&volume, map)?.as_fd(), &mapped)?;
                }
                mapped
            }
        };
        let was_mounted = mounts.contains_key(&rootfs);
        if wanted.mount && !was_mounted {
            mount::attach(overlay::mount(&lower, &upper, &work)?.as_fd(), &rootfs)?;
        }
        Ok(OverlayStatus {
            overlay: wanted.overlay.clone(),
            volume: wanted.volume.clone(),
            lowerdir: text(&lower),
            upperdir: text(&upper),
            workdir: text(&work),
            rootfs: text(&rootfs),
            mounted: wanted.mount || was_mounted,
        })
    }

    fn volume_status(&self, volume: &MountVolume) -> Result<VolumeStatus> {
        let path = self.volume_path(&volume.volume);
        let mounts = table::mounts()?;
        let backing = mounts.get(&path).map(backing_of);
        let filling = self.residency(volume, backing);
        Ok(VolumeStatus {
            volume: volume.volume.clone(),
            meta: volume.meta.clone(),
            devices: volume.devices.iter().map(|device| device.id.clone()).collect(),
            mounted: backing.is_some(),
            backing,
            backend: Some(volume.backend).filter(|_| backing.is_some() && !filling.is_empty()),
            filling,
            path: text(&path),
            overlays: self.overlays_of(&volume.volume),
        })
    }

    fn overlays_of(&self, volume: &Id) -> Vec<Id> {
        let overlays = self.state.intents().overlays.values();
        overlays.filter(|overlay| overlay.volume == *volume).map(|overlay| overlay.overlay.clone()).collect()
    }

    fn loop_of(&self, image: &ContentId) -> Option<PathBuf> {
        let autoclear = |device: &Path| {
            let name = device.file_name().unwrap_or_default();
            let flag = Path::new("/sys/block").join(name).join("loop/autoclear");
            fs::read_to_string(flag).is_ok_and(|text| text.trim() == "1")
        };
        loopdev::attached()
            .into_iter()
            .find(|(device, backing)| {
                self.content.owns(backing)
                    && backing.file_name().is_some_and(|name| name == image.as_str())
                    && !autoclear(device)
            })
            .map(|(device, _)| device)
    }

    /// Takes down mounts and empty mount points that nobody asked for. What can't be taken down is said and left.
    fn clean_up(&self) {
        let wanted_volumes = &self.state.intents().volumes;
        let wanted_overlays = &self.state.intents().overlays;
        let stray = |path: &Path| {
            let mut names =
                path.strip_prefix(&self.root).ok()?.components().map(|name| name.as_os_str().to_owned());
            let kind = names.next()?;
            let id = Id::try_from(names.next()?.into_string().ok()?).ok()?;
            let wanted = if kind == "volumes" {
                wanted_volumes.contains_key(&id)
            } else {
                wanted_overlays.contains_key(&id)
            };
            Some(!wanted)
        };
        for path in table::mounts().unwrap_or_default().into_keys().rev() {
            if stray(&path) == Some(true)
                && let Err(error) = mount::detach(&path)
            {
                tracing::warn!(path = %path.display(), %error, "a mount that nobody asked for stays");
            }
        }
        for entry in fs::read_dir(self.root.join("volumes")).into_iter().flatten().flatten() {
            if stray(&entry.path()) == Some(true) {
                let _ = fs::remove_dir(entry.path());
            }
        }
        self.forget_removed_devices();
    }

    /// What is here of a device outlives its volumes, for the next one; it does not outlive its file.
    fn forget_removed_devices(&self) {
        let held = self.filling.filler().map(|filler| filler.held()).unwrap_or_default();
        for entry in fs::read_dir(self.root.join("devices")).into_iter().flatten().flatten() {
            let id = entry.file_name().into_string().ok().and_then(|name| ContentId::try_from(name).ok());
            if id.is_some_and(|id| !held.contains(&id) && !self.content.has(&id)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn is_mounted(&self, volume: &Id) -> bool {
        table::is_mount_point(&self.volume_path(volume))
    }

    fn volume_path(&self, volume: &Id) -> PathBuf {
        self.root.join("volumes").join(volume.as_str())
    }

    fn overlay_path(&self, overlay: &Id) -> PathBuf {
        self.root.join("overlays").join(overlay.as_str())
    }
}

fn backing_of(mount: &table::Mount) -> Backing {
    if mount.source.starts_with("/dev/loop") { Backing::Loop } else { Backing::File }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn remove_if_there(outcome: std::io::Result<()>) -> std::io::Result<()> {
    match outcome {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether no helper runs there.
///
/// # Errors
/// Where that can't be found out.
pub fn is_free(root: &Path) -> Result<bool> {
    let path = root.join(LOCK_NAME);
    let doing = || format!("asking {} which helper runs", path.display());
    match File::open(&path) {
        Ok(lock) => Ok(flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(cause) => Err(cause).context(doing),
    }
}

/// One that has been told to end has a moment to do so.
fn take(lock: &File) -> rustix::io::Result<()> {
    let started = Instant::now();
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if started.elapsed() < LOCK_PATIENCE => {
                thread::sleep(LOCK_POLL)
            }
            outcome => return outcome,
        }
    }
}

/// Tells the launcher of a running helper that another program has taken the place of its own.
pub fn upgrade(root: &Path) -> Result<()> {
    if is_free(root)? {
        return Err(Error::new(Code::NotFound, format!("no helper uses {}", root.display())).hint("start it"));
    }
    let path = root.join(LOCK_NAME);
    let text = fs::read_to_string(&path).context(|| format!("reading {}", path.display()))?;
    let launcher = text.trim().parse().ok().and_then(Pid::from_raw);
    let launcher = launcher
        .ok_or_else(|| Error::new(Code::InvalidContent, format!("{} names no process", path.display())))?;
    kill_process(launcher, Signal::HUP).context(|| "telling the helper of the upgrade".into())
}
