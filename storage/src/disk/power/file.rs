//! A file that knows what of it was not synced.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, IoSlice},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLockReadGuard};

use super::{PAGE_BYTES, Shared, Unsynced, names::copy};
use crate::disk::{Disk, File, fault::draw, total_bytes};

/// By its number, what a page held when it was synced, as far as that was written over since.
type Pages = BTreeMap<u64, Vec<u8>>;

/// How far a file is durable, whatever it is called and however often it is open.
pub(super) struct Tracked {
    since_sync: Mutex<SinceSync>,
}

struct SinceSync {
    /// How far was written, room ahead of the file's end included.
    len: u64,
    synced_len: u64,
    before: Pages,
    /// The syncs under way, oldest first.
    syncs: Vec<Sync>,
    next_sync: u64,
}

/// A sync under way.
struct Sync {
    number: u64,
    /// How far it goes.
    len: u64,
    /// What is to be known again if it fails.
    before: Pages,
}

/// A sync that began.
pub(super) struct Mark(u64);

impl Tracked {
    pub(super) fn synced_at(len: u64) -> Self {
        let since_sync =
            SinceSync { len, synced_len: len, before: Pages::new(), syncs: Vec::new(), next_sync: 0 };
        Self { since_sync: Mutex::new(since_sync) }
    }

    /// Learns what is about to be written.
    fn writes(&self, inner: &dyn File, range: Range<u64>) -> io::Result<()> {
        let mut since = self.since_sync.lock();
        since.len = since.len.max(range.end);
        // What a sync may just be making durable, too.
        let durable = since.syncs.iter().map(|sync| sync.len).fold(since.synced_len, u64::max);
        let over = range.start..range.end.min(durable);
        if over.is_empty() {
            return Ok(());
        }
        for page in over.start / PAGE_BYTES..over.end.div_ceil(PAGE_BYTES) {
            if since.before.contains_key(&page) {
                continue;
            }
            let start = page * PAGE_BYTES;
            // Room beyond the file's length is zeros.
            let reach = inner.len().saturating_sub(start).min(durable - start).min(PAGE_BYTES);
            let mut held = vec![0; usize::try_from(reach).map_err(io::Error::other)?];
            inner.read_exact_at(start.min(inner.len()), &mut held)?;
            since.before.insert(page, held);
        }
        Ok(())
    }

    /// A file that was cut is so for good.
    fn cut(&self, len: u64) {
        let mut since = self.since_sync.lock();
        since.len = len;
        since.synced_len = since.synced_len.min(len);
        for sync in &mut since.syncs {
            sync.len = sync.len.min(len);
        }
        since.before.retain(|page, _| page * PAGE_BYTES < len);
    }

    /// A sync begins; to be [settled](Self::settle).
    pub(super) fn mark(&self) -> Mark {
        let mut since = self.since_sync.lock();
        let (number, len, before) = (since.next_sync, since.len, std::mem::take(&mut since.before));
        since.next_sync += 1;
        since.syncs.push(Sync { number, len, before });
        Mark(number)
    }

    pub(super) fn settle(&self, mark: &Mark, is_done: bool) {
        let mut since = self.since_sync.lock();
        let Some(at) = since.syncs.iter().position(|sync| sync.number == mark.0) else { return };
        let sync = since.syncs.remove(at);
        if is_done {
            since.synced_len = since.synced_len.max(sync.len);
            // Those that began before have nothing more to lose.
            since.syncs[..at].iter_mut().for_each(|earlier| earlier.before.clear());
        } else {
            since.before.extend(sync.before);
        }
    }

    /// Takes from the file below what was not synced, as drawn. Says how many pages that were.
    pub(super) fn lose(
        &self,
        disk: &dyn Disk,
        path: &Path,
        unsynced: Unsynced,
        number: u64,
    ) -> io::Result<u64> {
        let since = self.since_sync.lock();
        let file = disk.open(path)?;
        let outcome = Outcome::of(&since, file.len(), unsynced, number);
        if outcome.lost == 0 {
            return Ok(0);
        }
        if outcome.only_its_end {
            match file.set_len(outcome.len) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                cut => return cut.map(|()| outcome.lost),
            }
        }
        let anew = with_suffix(path);
        let target = disk.create(&anew)?;
        copy(&*file, &*target, outcome.len.min(file.len()), |position, bytes| {
            outcome.change(&since, position, bytes);
            Ok(())
        })?;
        disk.rename(&anew, path)?;
        Ok(outcome.lost)
    }
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".power-off.tmp");
    PathBuf::from(name)
}

/// What is left of a file.
struct Outcome {
    len: u64,
    lost: u64,
    only_its_end: bool,
    fate: Fate,
    number: u64,
}

/// Which of a file's unsynced pages survive.
#[derive(Clone, Copy)]
enum Fate {
    None,
    All,
    /// Those before this one: written back in order, until the power went.
    Before(u64),
    /// Each as the seed says.
    Any(u64),
}

impl Outcome {
    fn of(since: &SinceSync, len: u64, unsynced: Unsynced, number: u64) -> Self {
        let synced_len = since.synced_len.min(len);
        let fresh = synced_len / PAGE_BYTES..len.div_ceil(PAGE_BYTES);
        let fate = match unsynced {
            Unsynced::Lost => Fate::None,
            Unsynced::Drawn(seed) => match draw(seed, number, 0) % 4 {
                0 => Fate::None,
                1 => Fate::All,
                2 => {
                    let first = since.before.keys().next().map_or(fresh.start, |page| fresh.start.min(*page));
                    Fate::Before(first + draw(seed, number, 1) % (fresh.end.saturating_sub(first) + 1))
                }
                _ => Fate::Any(seed),
            },
        };
        let mut outcome = Self { len: synced_len, lost: 0, only_its_end: true, fate, number };
        if len > synced_len {
            let mut is_lost_before = false;
            for page in fresh {
                if outcome.survives(page) {
                    outcome.len = len.min((page + 1) * PAGE_BYTES);
                    outcome.only_its_end &= !is_lost_before;
                } else {
                    outcome.lost += 1;
                    is_lost_before = true;
                }
            }
        }
        let restored =
            since.before.keys().filter(|page| *page * PAGE_BYTES < synced_len && !outcome.survives(**page));
        let restored = restored.count() as u64;
        outcome.lost += restored;
        outcome.only_its_end &= restored == 0;
        outcome
    }

    fn survives(&self, page: u64) -> bool {
        match self.fate {
            Fate::None => false,
            Fate::All => true,
            Fate::Before(end) => page < end,
            Fate::Any(seed) => draw(seed, self.number, page + 2) & 1 == 1,
        }
    }

    /// Makes a piece of the file what it is after the loss.
    fn change(&self, since: &SinceSync, position: u64, bytes: &mut [u8]) {
        let end = position + bytes.len() as u64;
        let within = |at: u64| usize::try_from(at.clamp(position, end) - position).unwrap_or(bytes.len());
        let mut lost: Vec<(Range<usize>, u64)> = Vec::new();
        for page in position / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            let (start, page_end) = (page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
            if (page_end > since.synced_len || since.before.contains_key(&page)) && !self.survives(page) {
                lost.push((within(start)..within(page_end), page));
            }
        }
        for (range, page) in lost {
            let page_start = page * PAGE_BYTES;
            for (at, byte) in (position + range.start as u64..).zip(&mut bytes[range]) {
                let in_page = usize::try_from(at - page_start).unwrap_or(usize::MAX);
                match since.before.get(&page) {
                    _ if at >= since.synced_len => *byte = 0,
                    Some(held) => *byte = held.get(in_page).copied().unwrap_or(0),
                    None => {}
                }
            }
        }
    }
}

/// An open file of one life.
pub(super) struct PowerFile {
    pub(super) shared: Arc<Shared>,
    pub(super) life: u64,
    pub(super) inner: Arc<dyn File>,
    pub(super) tracked: Arc<Tracked>,
}

impl fmt::Debug for PowerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerFile")
            .field("inner", &self.inner)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl PowerFile {
    fn alive(&self) -> io::Result<RwLockReadGuard<'_, u64>> {
        self.shared.alive(self.life)
    }
}

impl File for PowerFile {
    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let _alive = self.alive()?;
        self.tracked.writes(&*self.inner, position..position + total_bytes(parts) as u64)?;
        self.inner.write_at(position, parts)
    }

    fn read_exact_at(&self, position: u64, into: &mut [u8]) -> io::Result<()> {
        let _alive = self.alive()?;
        self.inner.read_exact_at(position, into)
    }

    fn slice(&self, position: u64, len: usize) -> io::Result<Bytes> {
        let _alive = self.alive()?;
        self.inner.slice(position, len)
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _alive = self.alive()?;
        self.inner.set_len(len)?;
        self.tracked.cut(len);
        Ok(())
    }

    fn make_room(&self, from: u64, to: u64) -> io::Result<bool> {
        let _alive = self.alive()?;
        self.tracked.writes(&*self.inner, from..to)?;
        self.inner.make_room(from, to)
    }

    fn cut_excess(&self) -> io::Result<()> {
        let _alive = self.alive()?;
        self.inner.cut_excess()?;
        self.tracked.cut(self.inner.len());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let _alive = self.alive()?;
        let mark = self.tracked.mark();
        let synced = self.inner.sync();
        self.tracked.settle(&mark, synced.is_ok());
        synced
    }
}
