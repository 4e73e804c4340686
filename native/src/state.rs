//! What shall be: the volumes, overlays and loop devices that were asked for. Written before anything is done, so that
//! after a crash or a reboot it says what to finish or to take down. What *is* mounted is asked of the kernel, never
//! remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Context, Error, Result};
use crate::ids::{ContentId, Id};
use crate::wire::{MountVolume, PrepareOverlay};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intents {
    pub volumes: BTreeMap<Id, MountVolume>,
    pub overlays: BTreeMap<Id, PrepareOverlay>,
    pub loops: BTreeSet<ContentId>,
}

pub struct State {
    directory: PathBuf,
    intents: Intents,
}

const FILE_NAME: &str = "state.json";

impl State {
    pub fn load(directory: PathBuf) -> Result<Self> {
        let path = directory.join(FILE_NAME);
        let intents = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|cause| {
                Error::new(Code::InvalidContent, format!("{} is damaged: {cause}", path.display()))
                    .hint("unmount what is below the helper's root, then move the file away")
            })?,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Intents::default(),
            Err(cause) => return Err(cause).context(|| format!("reading {}", path.display())),
        };
        Ok(Self { directory, intents })
    }

    pub fn intents(&self) -> &Intents {
        &self.intents
    }

    /// Changes the intents on disk first, and in memory only once they are there.
    pub fn update(&mut self, change: impl FnOnce(&mut Intents)) -> Result<()> {
        let mut next = self.intents.clone();
        change(&mut next);
        if next != self.intents {
            self.write(&next)?;
            self.intents = next;
        }
        Ok(())
    }

    fn write(&self, intents: &Intents) -> Result<()> {
        let doing = || format!("writing {}", self.directory.join(FILE_NAME).display());
        let temporary = self.directory.join("state.json.new");
        let bytes = serde_json::to_vec(intents)
            .map_err(|cause| Error::new(Code::Internal, format!("{}: {cause}", doing())))?;
        let mut file = File::create(&temporary).context(doing)?;
        file.write_all(&bytes).context(doing)?;
        file.sync_all().context(doing)?;
        fs::rename(&temporary, self.directory.join(FILE_NAME)).context(doing)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).context(doing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn intents_survive_and_a_failed_write_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let overlay = PrepareOverlay { overlay: id("o"), volume: id("v"), mount: true, id_map: None };
        let mut state = State::load(directory.path().to_owned()).unwrap();
        state.update(|intents| drop(intents.overlays.insert(id("o"), overlay.clone()))).unwrap();
        assert_eq!(State::load(directory.path().to_owned()).unwrap().intents().overlays[&id("o")], overlay);

        let mut orphan = State { directory: directory.path().join("gone"), intents: state.intents.clone() };
        assert!(orphan.update(|intents| intents.overlays.clear()).is_err());
        assert_eq!(orphan.intents(), state.intents());
    }

    #[test]
    fn damage_is_said() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_NAME), b"{").unwrap();
        let error = State::load(directory.path().to_owned()).err().unwrap();
        assert_eq!(error.code, Code::InvalidContent);
    }
}
