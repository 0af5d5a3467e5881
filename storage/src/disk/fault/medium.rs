//! What a file on the medium holds, as against what its readers see.

use std::{collections::BTreeMap, io, sync::Arc};

use parking_lot::Mutex;

use super::SECTOR_BYTES;
use crate::disk::File;

/// A file and what it held at its last sync, as far as that differs.
pub(super) struct Tracked {
    pub(super) inner: Arc<dyn File>,
    pub(super) since_sync: Mutex<SinceSync>,
}

#[derive(Default)]
pub(super) struct SinceSync {
    pub(super) synced_len: u64,
    /// For each sector touched since: the bytes it held at the sync, as far as the file reached.
    pub(super) before: BTreeMap<u64, Vec<u8>>,
    /// The file was cut below its synced length, which happens as a whole or not at all.
    pub(super) cut: bool,
}

impl Tracked {
    /// Remembers what the sectors of the range held at the last sync, unless that is known already.
    pub(super) fn remember(&self, position: u64, end: u64) -> io::Result<()> {
        let mut since = self.since_sync.lock();
        let sector_len = SECTOR_BYTES as u64;
        let len = self.inner.len();
        for sector in position / sector_len..end.div_ceil(sector_len) {
            if since.before.contains_key(&sector) {
                continue;
            }
            let start = sector * sector_len;
            let reach = len.min(since.synced_len).saturating_sub(start).min(sector_len);
            let mut held = vec![0; usize::try_from(reach).map_err(io::Error::other)?];
            self.inner.read_exact_at(start.min(len), &mut held)?;
            since.before.insert(sector, held);
        }
        Ok(())
    }

    pub(super) fn after_power_cut(&self, survives: impl Fn(u64) -> bool) -> io::Result<Vec<u8>> {
        let since = self.since_sync.lock();
        let mut contents = vec![0; usize::try_from(self.inner.len()).map_err(io::Error::other)?];
        self.inner.read_exact_at(0, &mut contents)?;
        let synced_len = usize::try_from(since.synced_len).map_err(io::Error::other)?;
        let cut_lost = since.cut && !since.before.keys().all(|&sector| survives(sector));
        let mut len = if since.cut { contents.len() } else { synced_len };
        if cut_lost {
            len = synced_len;
        }
        contents.resize(contents.len().max(len), 0);
        for (&sector, held) in &since.before {
            let start = usize::try_from(sector).map_err(io::Error::other)? * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(contents.len());
            if survives(sector) && !cut_lost {
                len = len.max(end);
            } else if start < end {
                contents[start..end].fill(0);
                let reach = held.len().min(end - start);
                contents[start..start + reach].copy_from_slice(&held[..reach]);
            }
        }
        contents.truncate(len);
        Ok(contents)
    }
}
