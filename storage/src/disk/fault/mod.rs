//! A disk that fails on demand, and shows what a power cut leaves of another.
//!
//! What is fair: any call may fail once or from then on; a failing write may leave a prefix; the disk may have no more
//! room; at a power cut each
//! 512-byte sector written since the last sync of its file survives or not, on its own; a file's length is at least
//! what was synced; of the names changed since their directory was synced a prefix, in the order of the changes,
//! survives (file systems keep them in a journal).

mod medium;
mod names;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use self::{
    medium::{SinceSync, Tracked},
    names::NameChange,
};
use super::{DirEntry, Disk, File, MemoryDisk, total_bytes, zeros};

/// What a medium writes as a whole.
pub const SECTOR_BYTES: usize = 512;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The call returns this kind of error and does nothing.
    Error(io::ErrorKind),
    /// A write puts down this many bytes, then returns `StorageFull`; any other call does nothing and returns it.
    TornWrite {
        /// Bytes of the write that reach the file.
        keep_bytes: usize,
    },
}

/// A sector written since the last sync of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnsyncedSector {
    /// The file.
    pub path: PathBuf,
    /// The sector's number in the file.
    pub sector: u64,
}

/// Which unsynced sectors a power cut spares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Survivors {
    /// None, and no unsynced name: only what was synced is there.
    None,
    /// All of them, and every name: a process that died while the machine lived on.
    All,
    /// Each as this seed decides.
    Seed(u64),
    /// These, and every name.
    Only(BTreeSet<UnsyncedSector>),
}

/// Another disk, with faults.
#[derive(Clone)]
pub struct FaultDisk {
    inner: Arc<dyn Disk>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: u64,
    /// Faults by the number of the call they hit.
    planned: BTreeMap<u64, FaultKind>,
    /// From this call on everything fails.
    dead_from: Option<u64>,
    /// How many bytes more files may take, if that is limited.
    room_bytes: Option<u64>,
    files: BTreeMap<u64, Arc<Tracked>>,
    next_file: u64,
    names: BTreeMap<PathBuf, Option<u64>>,
    /// Names as they are durable, and the changes since, oldest first.
    durable_names: BTreeMap<PathBuf, Option<u64>>,
    pending_names: Vec<NameChange>,
}

impl FaultDisk {
    /// The given disk, without faults as yet. It should be empty: what it holds already is not seen (see [`Self::adopt`]).
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// The given disk and all it holds, which counts as durable. For disks in memory, as [`Self::crash`] returns them.
    ///
    /// # Errors
    /// What the disk says.
    pub fn adopt(inner: &Arc<dyn Disk>) -> io::Result<Self> {
        let disk = Self::new(Arc::clone(inner));
        let mut pending = vec![PathBuf::new()];
        while let Some(dir) = pending.pop() {
            for entry in inner.list(&dir)? {
                let path = dir.join(&entry.name);
                let mut state = disk.state.lock();
                let mut id = None;
                if !entry.is_dir {
                    id = Some(state.next_file);
                    state.next_file += 1;
                    let file = inner.open(&path)?;
                    let since_sync = SinceSync { synced_len: file.len(), ..SinceSync::default() };
                    let tracked = Tracked { inner: file, since_sync: Mutex::new(since_sync) };
                    state.files.extend(id.map(|id| (id, Arc::new(tracked))));
                }
                state.names.insert(path.clone(), id);
                state.durable_names.insert(path.clone(), id);
                drop(state);
                pending.extend(entry.is_dir.then_some(path));
            }
        }
        Ok(disk)
    }

    /// A disk in memory, with faults.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Arc::new(MemoryDisk::new()))
    }

    /// How many calls have been made; the next has this number.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Makes one call fail, by its number.
    pub fn fail_at(&self, call: u64, kind: FaultKind) {
        self.state.lock().planned.insert(call, kind);
    }

    /// Makes this call and every later one fail with `Other`: the disk is gone.
    pub fn die_at(&self, call: u64) {
        self.state.lock().dead_from = Some(call);
    }

    /// From now on files may grow by so many bytes in all; what is removed makes room again. A write that needs more
    /// puts down what fits and returns `StorageFull`; without any room no file is made. `None`: no limit.
    pub fn limit_room(&self, bytes: Option<u64>) {
        self.state.lock().room_bytes = bytes;
    }

    /// Takes back every fault not yet met.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        state.planned.clear();
        state.dead_from = None;
        state.room_bytes = None;
    }

    /// The sectors a power cut now might lose, in order of path.
    #[must_use]
    pub fn unsynced_sectors(&self) -> Vec<UnsyncedSector> {
        let state = self.state.lock();
        let mut sectors = Vec::new();
        for (path, file) in &state.names {
            if let Some(tracked) = file.and_then(|id| state.files.get(&id)) {
                let since = tracked.since_sync.lock();
                sectors
                    .extend(since.before.keys().map(|&sector| UnsyncedSector { path: path.clone(), sector }));
            }
        }
        sectors
    }

    /// What is on the medium after a power cut now, as a disk of its own. This one goes on as if nothing happened.
    pub fn crash(&self, survivors: &Survivors) -> io::Result<MemoryDisk> {
        let state = self.state.lock();
        let names = match survivors {
            Survivors::None => state.durable_names.clone(),
            Survivors::All | Survivors::Only(_) => state.names.clone(),
            Survivors::Seed(seed) => {
                let keep = usize::try_from(draw(*seed, 0, 0) % (state.pending_names.len() as u64 + 1));
                let mut names = state.durable_names.clone();
                for change in &state.pending_names[..keep.map_err(io::Error::other)?] {
                    change.apply(&mut names);
                }
                names
            }
        };
        let image = MemoryDisk::new();
        for (path, file) in names.iter().filter(|(_, file)| file.is_none()) {
            debug_assert!(file.is_none());
            image.create_dir(path)?;
        }
        for (path, id) in names.iter().filter_map(|(path, file)| Some((path, (*file)?))) {
            if let Some(dir) = path.parent() {
                image.create_dir(dir)?;
            }
            let Some(tracked) = state.files.get(&id) else { continue };
            let contents = tracked.after_power_cut(|sector| match survivors {
                Survivors::None => false,
                Survivors::All => true,
                Survivors::Seed(seed) => draw(*seed, id + 1, sector) & 1 == 1,
                Survivors::Only(spared) => spared.contains(&UnsyncedSector { path: path.clone(), sector }),
            })?;
            image.create(path)?.write_at(0, &[IoSlice::new(&contents)])?;
        }
        Ok(image)
    }

    fn call(&self) -> Result<(), FaultKind> {
        let mut state = self.state.lock();
        let number = state.calls;
        state.calls += 1;
        if state.dead_from.is_some_and(|from| number >= from) {
            return Err(FaultKind::Error(io::ErrorKind::Other));
        }
        match state.planned.remove(&number) {
            Some(kind) => Err(kind),
            None => Ok(()),
        }
    }

    fn checked(&self) -> io::Result<()> {
        self.call().map_err(FaultKind::into_error)
    }

    fn change(&self, change: NameChange) {
        let mut state = self.state.lock();
        change.apply(&mut state.names);
        state.pending_names.push(change);
    }

    fn handle(&self, id: u64) -> io::Result<Arc<dyn File>> {
        let tracked = self.state.lock().files.get(&id).cloned().ok_or(io::ErrorKind::NotFound)?;
        let len = AtomicU64::new(tracked.inner.len());
        Ok(Arc::new(FaultFile { disk: self.clone(), tracked, len }))
    }

    /// How much of the growth there is room for; that much is taken.
    fn take_room(&self, growth: u64) -> u64 {
        let mut state = self.state.lock();
        let Some(room) = &mut state.room_bytes else { return growth };
        let taken = growth.min(*room);
        *room -= taken;
        taken
    }

    fn give_room(&self, bytes: u64) {
        if let Some(room) = &mut self.state.lock().room_bytes {
            *room += bytes;
        }
    }

    fn len_of(&self, path: &Path) -> u64 {
        let state = self.state.lock();
        let id = state.names.get(path).copied().flatten();
        id.and_then(|id| state.files.get(&id)).map_or(0, |tracked| tracked.inner.len())
    }
}

impl FaultKind {
    fn into_error(self) -> io::Error {
        match self {
            Self::Error(kind) => io::Error::new(kind, "injected fault"),
            Self::TornWrite { .. } => io::Error::new(io::ErrorKind::StorageFull, "injected fault"),
        }
    }
}

impl fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultDisk").field("inner", &self.inner).field("calls", &self.calls()).finish()
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.checked()?;
        let id = self.state.lock().names.get(path).copied().flatten();
        self.handle(id.ok_or(io::ErrorKind::NotFound)?)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.checked()?;
        if self.state.lock().room_bytes == Some(0) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no room"));
        }
        let inner = self.inner.create(path)?;
        let id = {
            let mut state = self.state.lock();
            let id = state.next_file;
            state.next_file += 1;
            state.files.insert(id, Arc::new(Tracked { inner, since_sync: Mutex::default() }));
            id
        };
        self.change(NameChange::Create { path: path.to_owned(), file: Some(id) });
        self.handle(id)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.checked()?;
        self.inner.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.checked()?;
        self.inner.rename(from, to)?;
        self.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.checked()?;
        let freed = self.len_of(path);
        self.inner.remove_file(path)?;
        self.give_room(freed);
        self.change(NameChange::Remove { path: path.to_owned() });
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.checked()?;
        self.inner.remove_dir_all(dir)?;
        self.change(NameChange::Remove { path: dir.to_owned() });
        Ok(())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.checked()?;
        self.inner.create_dir(dir)?;
        let missing: Vec<PathBuf> = {
            let state = self.state.lock();
            let all = dir.ancestors().filter(|path| !path.as_os_str().is_empty());
            all.filter(|path| !state.names.contains_key(*path)).map(Path::to_owned).collect()
        };
        for path in missing.into_iter().rev() {
            self.change(NameChange::Create { path, file: None });
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.checked()?;
        self.inner.sync_dir(dir)?;
        let mut state = self.state.lock();
        // A journal commits in order: with the last change of this directory go all before it.
        let upto =
            state.pending_names.iter().rposition(|change| change.touches(dir)).map_or(0, |last| last + 1);
        let committed: Vec<NameChange> = state.pending_names.drain(..upto).collect();
        for change in committed {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }
}

struct FaultFile {
    disk: FaultDisk,
    tracked: Arc<Tracked>,
    /// As far as writes succeeded; a torn one leaves more in the file.
    len: AtomicU64,
}

impl fmt::Debug for FaultFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultFile").field("inner", &self.tracked.inner).finish_non_exhaustive()
    }
}

impl FaultFile {
    fn write(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.tracked.remember(position, position + total_bytes(parts) as u64)?;
        self.tracked.inner.write_at(position, parts)
    }

    /// Writes all of it unless a fault is due or room is wanting; part of it then.
    fn write_if_room(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        if let Err(kind) = self.disk.call() {
            if let FaultKind::TornWrite { keep_bytes } = kind {
                self.tear(position, parts, keep_bytes)?;
            }
            return Err(kind.into_error());
        }
        let total = total_bytes(parts);
        let growth = (position + total as u64).saturating_sub(self.tracked.inner.len());
        let missing = growth - self.disk.take_room(growth);
        if missing > 0 {
            self.tear(position, parts, total - usize::try_from(missing).unwrap_or(total))?;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no room"));
        }
        self.write(position, parts)
    }

    /// Writes the first bytes only.
    fn tear(&self, position: u64, parts: &[IoSlice<'_>], keep_bytes: usize) -> io::Result<()> {
        let whole: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.write(position, &[IoSlice::new(&whole[..keep_bytes.min(whole.len())])])
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        let now = self.tracked.inner.len();
        self.tracked.remember(len.min(now), len.max(now))?;
        self.tracked.inner.set_len(len)?;
        self.disk.give_room(now.saturating_sub(len));
        let mut since = self.tracked.since_sync.lock();
        since.cut |= len < since.synced_len;
        Ok(())
    }
}

impl File for FaultFile {
    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.write_if_room(position, parts)?;
        self.len.fetch_max(position + total_bytes(parts) as u64, Ordering::SeqCst);
        Ok(())
    }

    fn read_exact_at(&self, position: u64, into: &mut [u8]) -> io::Result<()> {
        self.disk.checked()?;
        self.tracked.inner.read_exact_at(position, into)
    }

    /// A copy, so that the bytes stay whatever happens to the file.
    fn slice(&self, position: u64, len: usize) -> io::Result<Bytes> {
        self.disk.checked()?;
        Ok(Bytes::copy_from_slice(&self.tracked.inner.slice(position, len)?))
    }

    fn len(&self) -> u64 {
        self.len.load(Ordering::SeqCst)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.checked()?;
        self.cut(len)?;
        self.len.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn make_room(&self, from: u64, to: u64) -> io::Result<bool> {
        self.write_if_room(from, &zeros(to.saturating_sub(from)))?;
        Ok(true)
    }

    fn cut_excess(&self) -> io::Result<()> {
        self.disk.checked()?;
        self.cut(self.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.checked()?;
        self.tracked.inner.sync()?;
        let mut since = self.tracked.since_sync.lock();
        *since = SinceSync { synced_len: self.tracked.inner.len(), ..SinceSync::default() };
        Ok(())
    }
}

/// One number of the stream a seed stands for, by its coordinates (SplitMix64's finalizer).
pub(super) fn draw(seed: u64, file: u64, sector: u64) -> u64 {
    let mut mixed = seed
        .wrapping_add(file.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(sector.wrapping_mul(0xD1B5_4A32_D192_ED03))
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &Arc<dyn File>, position: u64, bytes: &[u8]) {
        file.write_at(position, &[IoSlice::new(bytes)]).unwrap();
    }

    #[test]
    fn the_planned_call_fails_and_no_other() {
        let disk = FaultDisk::in_memory();
        let path = Path::new("f");
        let file = disk.create(path).unwrap();
        disk.fail_at(2, FaultKind::TornWrite { keep_bytes: 2 });
        write(&file, 0, b"abc");
        let torn = file.write_at(3, &[IoSlice::new(b"de"), IoSlice::new(b"f")]).unwrap_err();
        assert_eq!(torn.kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.read(path).unwrap(), b"abcde");
    }

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_the_sectors_it_spares() {
        let disk = FaultDisk::in_memory();
        let (dir, path) = (Path::new("d"), Path::new("d/f"));
        disk.create_dir(dir).unwrap();
        let file = disk.create(path).unwrap();
        write(&file, 0, &[1; 700]);
        file.sync().unwrap();
        assert!(disk.crash(&Survivors::None).unwrap().open(path).is_err(), "its name was not synced");
        disk.sync_dir(dir).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        write(&file, 700, &[2; 1000]);
        assert_eq!(disk.crash(&Survivors::None).unwrap().read(path).unwrap(), [1; 700]);

        let all = disk.crash(&Survivors::All).unwrap().read(path).unwrap();
        assert_eq!(all, [vec![1; 700], vec![2; 1000]].concat());

        // Sectors 1 (shared with the synced part), 2 and 3 are in doubt; spare the last alone.
        let unsynced = disk.unsynced_sectors();
        assert_eq!(unsynced.iter().map(|s| s.sector).collect::<Vec<_>>(), [1, 2, 3]);
        let spared = BTreeSet::from([unsynced[2].clone()]);
        let image = disk.crash(&Survivors::Only(spared)).unwrap().read(path).unwrap();
        assert_eq!(image, [vec![1; 700], vec![0; 1536 - 700], vec![2; 1700 - 1536]].concat());
    }

    #[test]
    fn room_is_sectors_like_others() {
        let disk = FaultDisk::in_memory();
        let path = Path::new("f");
        let file = disk.create(path).unwrap();
        write(&file, 0, &[1; 100]);
        assert!(file.make_room(100, 1500).unwrap());
        assert_eq!((disk.unsynced_sectors().len(), file.len()), (3, 100));
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        write(&file, 100, &[1; 900]);
        let spared = BTreeSet::from([disk.unsynced_sectors()[1].clone()]);
        let image = disk.crash(&Survivors::Only(spared)).unwrap().read(path).unwrap();
        assert_eq!(image, [vec![1; 100], vec![0; 412], vec![1; 488], vec![0; 500]].concat());
        disk.limit_room(Some(10));
        assert_eq!(file.make_room(1500, 2000).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.cut_excess().unwrap();
        assert_eq!(disk.read(path).unwrap(), [1; 1000]);
        assert!(file.make_room(1000, 1510).is_ok(), "what was cut made room");
    }

    #[test]
    fn a_cut_of_synced_bytes_holds_as_a_whole_or_not_at_all() {
        let disk = FaultDisk::in_memory();
        let path = Path::new("f");
        let file = disk.create(path).unwrap();
        write(&file, 0, &[1; 2000]);
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.set_len(600).unwrap();
        for seed in 0..32 {
            let image = disk.crash(&Survivors::Seed(seed)).unwrap().read(path).unwrap();
            assert!(image == [1; 600] || image == [1; 2000], "seed {seed}: {} bytes", image.len());
        }
        assert_eq!(disk.crash(&Survivors::None).unwrap().read(path).unwrap(), [1; 2000]);
        assert_eq!(disk.crash(&Survivors::All).unwrap().read(path).unwrap(), [1; 600]);
        file.sync().unwrap();
        assert_eq!(disk.crash(&Survivors::None).unwrap().read(path).unwrap(), [1; 600]);
    }

    #[test]
    fn a_seed_always_tells_the_same_story() {
        let disk = FaultDisk::in_memory();
        let file = disk.create(Path::new("f")).unwrap();
        write(&file, 0, &[3; 20 * SECTOR_BYTES]);
        let image = |seed| disk.crash(&Survivors::Seed(seed)).unwrap().read(Path::new("f")).ok();
        assert_eq!(image(7), image(7));
        assert!((0..16).any(|seed| image(seed) != image(7)));
    }
}
