//! Whether anything is being filled: the filler is started when it is first needed, or at once where an earlier worker has left a holder.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::filler::Filler;
use super::holding::{HolderOptions, Holding};
use crate::content::ContentDir;
use crate::error::Result;

pub struct Filling {
    options: HolderOptions,
    blobs: ContentDir,
    filler: Mutex<Option<Arc<Filler>>>,
    started: Condvar,
}

impl Filling {
    pub fn take_over(options: HolderOptions, blobs: ContentDir) -> Result<Arc<Self>> {
        let is_held = Holding::is_there(&options.root)?;
        let filling = Self { options, blobs, filler: Mutex::new(None), started: Condvar::new() };
        if is_held {
            filling.start()?;
        }
        Ok(Arc::new(filling))
    }

    pub fn filler(&self) -> Option<Arc<Filler>> {
        self.lock().clone()
    }

    /// Waits until there is one, for so long.
    pub fn wait(&self, patience: Duration) -> Option<Arc<Filler>> {
        let waited = self.started.wait_timeout_while(self.lock(), patience, |filler| filler.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub fn start(&self) -> Result<Arc<Filler>> {
        let mut filler = self.lock();
        if let Some(filler) = &*filler {
            return Ok(Arc::clone(filler));
        }
        let HolderOptions { root, deadline_ms, .. } = &self.options;
        let (holding, left) = Holding::find(&self.options)?;
        let started = Filler::start(holding, left, root, self.blobs.clone(), *deadline_ms)?;
        *filler = Some(Arc::clone(&started));
        self.started.notify_all();
        Ok(started)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Filler>>> {
        self.filler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
