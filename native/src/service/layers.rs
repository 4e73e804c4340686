//! Directories of what is written upon others: upper and work, one pair a layer, side by side below `layers/`. What there is stands on the disk alone, so
//! that making one costs no more than making directories.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::{remove_if_there, text};
use crate::error::{Code, Context, Error, Result};
use crate::ids::Id;
use crate::mount::overlay::{self, Look};
use crate::wire::{LayerStatus, LayerUsage, Owner, PrepareLayer};

/// As long as the longest chain of a snapshotter.
const MAX_PARENTS: usize = 1000;

/// Of the kernel: `st_blocks` in stat(2).
const DISK_BLOCK_BYTES: u64 = 512;

/// What a layer has stood upon in the end: a link to each such volume, so that none of them is unmounted before the layer is gone.
const VOLUMES_NAME: &str = "volumes";

pub struct Layers {
    root: PathBuf,
}

impl Layers {
    /// Below the helper's `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.join("layers") }
    }

    /// Makes what is missing of a layer's directories. The root looks like that of the nearest of its parents.
    pub fn prepare(&self, wanted: &PrepareLayer, volume: Option<&Path>) -> Result<LayerStatus> {
        if wanted.parents.len() > MAX_PARENTS {
            let message = format!("layer {} has more than {MAX_PARENTS} parents", wanted.layer);
            return Err(Error::new(Code::LimitExceeded, message));
        }
        let mut lowerdirs: Vec<PathBuf> =
            wanted.parents.iter().map(|parent| self.path(parent).join("upper")).collect();
        if let Some(missing) = lowerdirs.iter().find(|directory| !directory.is_dir()) {
            return Err(Error::new(Code::NotFound, format!("{} is not there", missing.display())));
        }
        lowerdirs.extend(volume.map(Path::to_owned));
        let directory = self.path(&wanted.layer);
        fs::create_dir_all(&directory).context(|| format!("making {}", directory.display()))?;
        if let Some(volume) = volume {
            Self::note_volume(&directory, volume)?;
        }
        let [upper, work] = ["upper", "work"].map(|name| directory.join(name));
        let mut look = lowerdirs.first().map_or(Ok(Look::ROOT), |nearest| Look::of(nearest))?;
        if let Some(Owner { uid, gid }) = wanted.owner {
            look = Look { uid, gid, ..look };
        }
        overlay::make_directories(&upper, &work, look)?;
        Ok(LayerStatus {
            layer: wanted.layer.clone(),
            upperdir: text(&upper),
            workdir: text(&work),
            lowerdirs: lowerdirs.iter().map(|directory| text(directory)).collect(),
        })
    }

    fn note_volume(directory: &Path, volume: &Path) -> Result<()> {
        let doing = || format!("noting what {} stands upon", directory.display());
        let volumes = directory.join(VOLUMES_NAME);
        fs::create_dir_all(&volumes).context(doing)?;
        match symlink(volume, volumes.join(volume.file_name().unwrap_or_default())) {
            Err(cause) if cause.kind() != ErrorKind::AlreadyExists => Err(cause).context(doing),
            _ => Ok(()),
        }
    }

    pub fn remove(&self, layer: &Id) -> Result<()> {
        let directory = self.path(layer);
        remove_if_there(fs::remove_dir_all(&directory))
            .context(|| format!("removing {}", directory.display()))
    }

    /// What the upper directory takes on the disk; a file with several names once.
    pub fn usage(&self, layer: &Id) -> Result<LayerUsage> {
        let mut usage = LayerUsage { bytes: 0, inodes: 0 };
        let mut seen = HashSet::new();
        let mut left = vec![self.path(layer).join("upper")];
        while let Some(path) = left.pop() {
            let metadata = match fs::symlink_metadata(&path) {
                // Whoever writes here goes on meanwhile.
                Err(cause) if cause.kind() == ErrorKind::NotFound && usage.inodes > 0 => continue,
                found => found.context(|| format!("examining {}", path.display()))?,
            };
            if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert(metadata.ino()) {
                continue;
            }
            usage.inodes += 1;
            usage.bytes += metadata.blocks() * DISK_BLOCK_BYTES;
            if metadata.is_dir() {
                let entries = fs::read_dir(&path).into_iter().flatten().flatten();
                left.extend(entries.map(|entry| entry.path()));
            }
        }
        Ok(usage)
    }

    pub fn list(&self) -> Result<Vec<Id>> {
        let doing = || format!("listing {}", self.root.display());
        let entries = match fs::read_dir(&self.root) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            found => found.context(doing)?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>();
        let names = names.context(doing)?.into_iter().filter_map(|name| name.into_string().ok());
        Ok(names.filter_map(|name| Id::try_from(name).ok()).collect())
    }

    /// A layer that stands upon a volume.
    pub fn user_of(&self, volume: &Path) -> Result<Option<Id>> {
        let Some(name) = volume.file_name() else { return Ok(None) };
        let stands_upon =
            |layer: &Id| fs::symlink_metadata(self.path(layer).join(VOLUMES_NAME).join(name)).is_ok();
        Ok(self.list()?.into_iter().find(stands_upon))
    }

    fn path(&self, layer: &Id) -> PathBuf {
        self.root.join(layer.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::try_from(text.to_owned()).unwrap()
    }

    fn wanted(layer: &str, parents: &[&str]) -> PrepareLayer {
        let parents = parents.iter().map(|parent| id(parent)).collect();
        PrepareLayer { layer: id(layer), parents, volume: None, owner: None }
    }

    #[test]
    fn a_layer_is_made_upon_its_parents_and_counted() {
        let root = tempfile::tempdir().unwrap();
        let layers = Layers::new(root.path());
        let first = layers.prepare(&wanted("1", &[]), None).unwrap();
        assert!(first.lowerdirs.is_empty());
        fs::write(Path::new(&first.upperdir).join("a"), [1; 5000]).unwrap();
        fs::hard_link(Path::new(&first.upperdir).join("a"), Path::new(&first.upperdir).join("b")).unwrap();
        let usage = layers.usage(&id("1")).unwrap();
        assert_eq!(usage.inodes, 2);
        assert!((8192..5 * 8192).contains(&usage.bytes));
        let second = layers.prepare(&wanted("2", &["1"]), None).unwrap();
        assert_eq!(second.lowerdirs, [first.upperdir]);
        let owner = Some(Owner { uid: 1234, gid: 1235 });
        let mapped = layers.prepare(&PrepareLayer { owner, ..wanted("4", &["1"]) }, None);
        // Only root may give something away.
        if rustix::process::geteuid().is_root() {
            let root = fs::metadata(mapped.unwrap().upperdir).unwrap();
            assert_eq!((root.uid(), root.gid()), (1234, 1235));
        }
        layers.remove(&id("4")).unwrap();
        assert_eq!(layers.prepare(&wanted("3", &["9"]), None).unwrap_err().code, Code::NotFound);
        layers.remove(&id("2")).unwrap();
        layers.remove(&id("2")).unwrap();
        assert_eq!(layers.list().unwrap(), [id("1")]);
    }

    #[test]
    fn a_volume_is_in_use_by_the_layer_upon_it() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("volumes").join("v");
        fs::create_dir_all(&volume).unwrap();
        let layers = Layers::new(root.path());
        assert_eq!(layers.user_of(&volume).unwrap(), None);
        layers.prepare(&wanted("1", &[]), Some(&volume)).unwrap();
        assert_eq!(layers.prepare(&wanted("1", &[]), Some(&volume)).unwrap().lowerdirs, [text(&volume)]);
        assert_eq!(layers.user_of(&volume).unwrap(), Some(id("1")));
    }
}
