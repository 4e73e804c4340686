//! Volumes that are filled while they are mounted: what fills them, for whom, and until when.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Service, backing_of};
use crate::content::ContentFile;
use crate::error::{Code, Error, Result};
use crate::ids::{ContentId, Id};
use crate::mount::{self, loopdev, table};
use crate::probe::{erofs_on_files, probe};
use crate::wire::{Backend, Backing, MountVolume, VolumeDevice, VolumeStatus};
use crate::worker::filler::{Filler, Residency};

impl Service {
    /// Lets the kernel read alone what is complete. Gives what the volume is from now on.
    ///
    /// # Errors
    /// [`Code::InvalidContent`] where a device is complete and wrong: it is filled anew.
    pub fn retire_volume(&mut self, volume: &Id) -> Result<VolumeStatus> {
        let known = self.state.intents().volumes.get(volume).cloned();
        let known =
            known.ok_or_else(|| Error::new(Code::NotFound, format!("there is no volume {volume}")))?;
        for device in &known.devices {
            if !self.filling.filler().is_some_and(|filler| filler.held().contains(&device.id)) {
                continue;
            }
            // Whoever says that it is complete: others may read it with our help, and none of them shall read zeros.
            if self.filler()?.is_whole(&device.id, self.is_mounted_itself(&device.id))? {
                self.completed(&device.id)?;
                self.leave_to_kernel(&device.id)?;
            }
        }
        self.stop_serving_nobody()?;
        let known = self.state.intents().volumes.get(volume).cloned().unwrap_or(known);
        self.volume_status(&known)
    }

    /// The device is whole: nobody who can do without us goes through us any more.
    fn leave_to_kernel(&self, device: &ContentId) -> Result<()> {
        let filler = self.filler()?;
        filler.unmark(device)?;
        let served = filler.served_path(device);
        for (path, _) in loopdev::attached().into_iter().filter(|(_, backing)| *backing == served) {
            loopdev::change(&path, &self.content.open(device)?)?;
        }
        if self.is_read_through_file(device)? {
            tracing::info!(%device, "a device is complete: new mounts read it alone");
            return Ok(());
        }
        filler.retire(device)?;
        tracing::info!(%device, "a device is complete: the kernel reads it alone");
        Ok(())
    }

    /// Whether a volume may be mounted on the device's own file, whose readers the kernel asks for.
    fn is_mounted_itself(&self, device: &ContentId) -> bool {
        let uses = |volume: &MountVolume| {
            volume.backend == Backend::Fanotify && volume.devices.iter().any(|other| other.id == *device)
        };
        self.state.intents().volumes.values().any(uses)
    }

    /// Whether a volume is mounted directly on the file of ours that the device is.
    fn is_read_through_file(&self, device: &ContentId) -> Result<bool> {
        let mounts = table::mounts()?;
        Ok(self.state.intents().volumes.values().any(|volume| {
            let backing = mounts.get(&self.volume_path(&volume.volume)).map(backing_of);
            is_on_our_files(volume, backing) && volume.devices.iter().any(|other| other.id == *device)
        }))
    }

    /// How much is here of the devices that the volume reads with our help.
    pub(super) fn residency(&self, volume: &MountVolume, backing: Option<Backing>) -> Vec<Residency> {
        let Some(filler) = self.filling.filler() else { return Vec::new() };
        let helped =
            volume.devices.iter().filter(|device| !device.complete || is_on_our_files(volume, backing));
        helped.filter_map(|device| filler.residency(&device.id)).collect()
    }

    /// Where no device is left that a mounted volume reads through us, our file system goes.
    fn stop_serving_nobody(&self) -> Result<()> {
        let Some(filler) = self.filling.filler().filter(|filler| filler.is_serving()) else { return Ok(()) };
        let held = filler.held();
        let is_served = |volume: &MountVolume| {
            volume.backend == Backend::Fuse
                && self.is_mounted(&volume.volume)
                && volume.devices.iter().any(|device| held.contains(&device.id))
        };
        if self.state.intents().volumes.values().any(is_served) { Ok(()) } else { filler.stop_serving() }
    }

    /// In every volume that uses it.
    fn completed(&mut self, device: &ContentId) -> Result<()> {
        self.state.update(|intents| {
            for other in intents.volumes.values_mut().flat_map(|volume| &mut volume.devices) {
                other.complete |= other.id == *device;
            }
        })
    }

    /// What shall fill it is decided when it is mounted.
    pub(super) fn with_backend(&self, volume: MountVolume) -> Result<MountVolume> {
        let is_whole = volume.devices.iter().all(|device| device.complete);
        let backend = match volume.backend {
            _ if is_whole => Backend::Local,
            Backend::Auto => self.best_backend(volume.backing)?,
            backend => backend,
        };
        Ok(MountVolume { backend, ..volume })
    }

    /// Found out when it is first asked for, since it takes a few mounts.
    fn best_backend(&self, backing: Backing) -> Result<Backend> {
        let found = self.backends.get_or_init(|| probe(&self.root).backends);
        let is_good = |backend: &&Backend| match backend {
            Backend::Fanotify => backing != Backing::Loop,
            Backend::Fuse => true,
            Backend::Auto | Backend::Local => false,
        };
        found.iter().find(is_good).copied().ok_or_else(|| {
            Error::new(Code::Unsupported, "this kernel has neither fanotify with ranges nor FUSE")
                .hint("`drakkar-native --probe DIR` says why; volumes must be fetched whole before they are mounted")
        })
    }

    /// Whether volumes may be mounted from files where nobody says from what.
    pub(super) fn reads_files(&self) -> bool {
        if self.reads_files.get().is_none() && erofs_on_files(&self.root).is_ok() {
            let _ = self.reads_files.set(());
        }
        // What failed may have failed for another reason, and is tried again.
        self.reads_files.get().is_some()
    }

    /// Before anything is mounted whoever will be asked for what is missing must be there.
    pub(super) fn hold_devices(&self, volume: &MountVolume) -> Result<Backing> {
        let missing: Vec<_> = volume.devices.iter().filter(|device| !device.complete).collect();
        if missing.is_empty() {
            return Ok(volume.backing);
        }
        match (volume.backend, volume.backing) {
            (Backend::Local | Backend::Auto, _) => {
                let message = format!("volume {} is not complete, and nothing shall fill it", volume.volume);
                return Err(
                    Error::new(Code::NotFound, message).hint("fetch all of it first, or use another backend")
                );
            }
            (Backend::Fanotify, Backing::Loop) => {
                let message = "a loop device over a file that is being filled would read zeros";
                return Err(
                    Error::new(Code::InvalidArgument, message).hint("leave the backing to the helper")
                );
            }
            (Backend::Fanotify | Backend::Fuse, _) => {}
        }
        let filler = self.filler()?;
        for device in missing {
            filler.hold(&device.spec(volume.block_bytes), self.content.open_to_fill(&device.id)?)?;
            filler.note_volume(&device.id, &volume.volume);
            if volume.backend == Backend::Fanotify {
                filler.mark(&device.id)?;
            }
        }
        if volume.backend == Backend::Fuse {
            filler.serve()?;
            return Ok(volume.backing);
        }
        Ok(Backing::File)
    }

    /// The volume is mounted, or will not be: what is complete need not stay marked.
    pub(super) fn note_opened(&self, volume: &MountVolume) {
        if let Some(filler) = self.filling.filler() {
            volume.devices.iter().for_each(|device| filler.opened(&device.id));
        }
    }

    pub(super) fn open_device(&self, volume: &MountVolume, device: &VolumeDevice) -> Result<ContentFile> {
        if volume.backend == Backend::Fuse && !device.complete {
            self.filler()?.served(&device.id)
        } else {
            self.content.open(&device.id)
        }
    }

    /// Devices that no volume uses any more are filled no longer.
    pub(super) fn release_devices(&self, volume: &MountVolume) -> Result<()> {
        let Some(filler) = self.filling.filler() else { return Ok(()) };
        let others = self.state.intents().volumes.values().filter(|other| other.volume != volume.volume);
        let mounts = table::mounts()?;
        let used: BTreeSet<&ContentId> = others
            .filter(|other| mounts.contains_key(&self.volume_path(&other.volume)))
            .flat_map(|other| other.devices.iter().map(|device| &device.id))
            .collect();
        for device in &volume.devices {
            if !used.contains(&device.id) {
                filler.release(&device.id)?;
            } else if device.complete && filler.is_whole(&device.id, self.is_mounted_itself(&device.id))? {
                // Perhaps this volume was the last that could not do without us.
                self.leave_to_kernel(&device.id)?;
            }
        }
        self.stop_serving_nobody()
    }

    /// A filler that goes on with another worker's devices does not know whose they are.
    pub(super) fn name_devices(&self) {
        let Some(filler) = self.filling.filler() else { return };
        for volume in self.state.intents().volumes.values() {
            for device in &volume.devices {
                filler.note_volume(&device.id, &volume.volume);
            }
        }
    }

    fn filler(&self) -> Result<Arc<Filler>> {
        self.filling.start()
    }

    /// Volumes that are mounted from devices that were being filled, by a holder that is no more: whoever reads them reads zeros.
    pub(super) fn detach_what_nobody_fills(&mut self) -> Result<()> {
        let filler = self.filling.filler();
        let held = filler.as_ref().map(|filler| filler.held()).unwrap_or_default();
        let is_serving = filler.is_some_and(|filler| filler.is_serving());
        let mounts = table::mounts()?;
        let is_lost = |volume: &MountVolume| {
            let backing = mounts.get(&self.volume_path(&volume.volume)).map(backing_of);
            volume.devices.iter().any(|device| !device.complete && !held.contains(&device.id))
                || is_on_our_files(volume, backing) && !is_serving
        };
        let lost: Vec<MountVolume> =
            self.state.intents().volumes.values().filter(|volume| is_lost(volume)).cloned().collect();
        for volume in lost {
            let overlays = self.overlays_of(&volume.volume);
            let paths = overlays
                .iter()
                .flat_map(|overlay| ["rootfs", "lower"].map(|name| self.overlay_path(overlay).join(name)))
                .chain([self.volume_path(&volume.volume)]);
            for path in paths.filter(|path| mounts.contains_key(path)) {
                mount::detach_at_once(&path)?;
                tracing::error!(volume = %volume.volume, path = %path.display(), "detached: nobody had filled it for a while");
            }
        }
        let files = self.root.join("fuse");
        if !is_serving && mounts.contains_key(&files) {
            mount::detach_at_once(&files)?;
        }
        Ok(())
    }
}

/// Such a volume needs us for as long as it is mounted, whatever is here.
fn is_on_our_files(volume: &MountVolume, backing: Option<Backing>) -> bool {
    volume.backend == Backend::Fuse && backing == Some(Backing::File)
}
