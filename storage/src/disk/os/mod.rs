//! The operating system's file system: positioned vectored writes, reads by memory map.
//!
//! A file is mapped read-only at its first [`slice`](File::slice) and remapped as it grows; the number of maps is
//! bounded, the oldest goes first, and a slice keeps its map alive. A file that anyone in the process may have mapped is
//! never shortened: cutting a page under a reader would end the process (SIGBUS), so [`set_len`](File::set_len) is
//! refused meanwhile.

mod handles;

use std::{
    collections::VecDeque,
    fmt, fs,
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};
use parking_lot::Mutex;

use self::handles::Hold;
use super::{DirEntry, Disk, File, end_within, total_bytes, write_starts_within, zeros};

/// How many files of one disk are mapped at a time. Linux allows a process 65530 maps in all.
const MAPS_LIMIT: usize = 4096;
/// The least a map reaches past the end of the file, so that a growing one is not remapped at each read. Address space
/// only: no page past the end is touched.
const MAP_AHEAD_LEAST_BYTES: u64 = 1 << 20;
/// The most parts one call takes (Linux's and macOS's IOV_MAX).
const PARTS_PER_CALL: usize = 1024;
/// The most a map reaches past the end of the file.
const MAP_AHEAD_MOST_BYTES: u64 = 64 << 20;

/// Files of the operating system.
#[derive(Debug, Default)]
pub struct OsDisk {
    maps: Arc<MapOrder>,
    read_only: bool,
}

impl OsDisk {
    /// The file system of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, to look at only: files are opened for reading, and every change is refused.
    #[must_use]
    pub fn read_only() -> Self {
        Self { maps: Arc::default(), read_only: true }
    }

    fn may_change(&self) -> io::Result<()> {
        if self.read_only { Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)) } else { Ok(()) }
    }

    fn file(&self, file: fs::File) -> io::Result<Arc<dyn File>> {
        let metadata = file.metadata()?;
        Ok(Arc::new(OsFile {
            file,
            len: AtomicU64::new(metadata.len()),
            hold: Hold::new(&metadata),
            map: Arc::default(),
            maps: Arc::clone(&self.maps),
        }))
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.file(fs::OpenOptions::new().read(true).write(!self.read_only).open(path)?)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.may_change()?;
        self.file(fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?)
    }

    /// Without a look at what it becomes: nobody maps a small file.
    fn put(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        use io::Write as _;
        self.may_change()?;
        let mut create = fs::OpenOptions::new();
        create.write(true).create_new(true);
        let mut file = match create.open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path)?;
                create.open(path)?
            }
            created => created?,
        };
        file.write_all(contents)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.may_change()?;
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.may_change()?;
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.may_change()?;
        fs::remove_dir_all(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.may_change()?;
        // One call in the usual case, where the log directory is there.
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(dir),
            done => done,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        fs::File::open(dir)?.sync_all()
    }

    #[cfg(target_os = "linux")]
    fn sync_all(&self, dir: &Path) -> io::Result<bool> {
        rustix::fs::syncfs(fs::File::open(dir)?)?;
        Ok(true)
    }
}

/// The file's current map. Shared with [`MapOrder`], which empties it when others need the room.
type MapSlot = Mutex<Option<Arc<Map>>>;

/// A read-only map of a file from its beginning, reaching past its end.
struct Map {
    raw: MmapRaw,
    _hold: Hold,
}

/// The maps of one disk in the order they were made.
#[derive(Default)]
struct MapOrder(Mutex<VecDeque<Weak<MapSlot>>>);

impl fmt::Debug for MapOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MapOrder").field(&self.0.lock().len()).finish()
    }
}

impl MapOrder {
    fn add(&self, slot: &Arc<MapSlot>) {
        let mut order = self.0.lock();
        if order.len() >= MAPS_LIMIT {
            order.retain(|slot| slot.strong_count() > 0);
        }
        let oldest = if order.len() >= MAPS_LIMIT { order.pop_front() } else { None };
        order.push_back(Arc::downgrade(slot));
        drop(order);
        if let Some(slot) = oldest.and_then(|slot| slot.upgrade()) {
            *slot.lock() = None;
        }
    }
}

struct OsFile {
    file: fs::File,
    /// Bytes written. Shrinks only under the lock of `map`.
    len: AtomicU64,
    hold: Hold,
    map: Arc<MapSlot>,
    maps: Arc<MapOrder>,
}

impl fmt::Debug for OsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OsFile").field("file", &self.file).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl OsFile {
    /// A map that covers the range, which must have been written.
    fn mapped(&self, position: u64, len: usize) -> io::Result<Arc<Map>> {
        let mut slot = self.map.lock();
        // Under the lock: from here on the file is not cut.
        let end = end_within(position, len, self.len())?;
        if let Some(map) = slot.as_ref().filter(|map| map.raw.len() as u64 >= end) {
            return Ok(Arc::clone(map));
        }
        let _hold = self.hold.again();
        let ahead = end.clamp(MAP_AHEAD_LEAST_BYTES, MAP_AHEAD_MOST_BYTES);
        let len = usize::try_from(end.saturating_add(ahead)).map_err(io::Error::other)?;
        let raw = MmapOptions::new().len(len).map_raw_read_only(&self.file)?;
        let map = Arc::new(Map { raw, _hold });
        let first = slot.replace(Arc::clone(&map)).is_none();
        drop(slot);
        if first {
            self.maps.add(&self.map);
        }
        Ok(map)
    }
}

/// A range of a map whose bytes have been written.
struct MappedRange {
    map: Arc<Map>,
    start: usize,
    len: usize,
}

impl AsRef<[u8]> for MappedRange {
    #[allow(unsafe_code)]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range lies within the map (`OsFile::slice` asked for a map up to its end) and within the bytes
        // written when it was made, so every page of it is backed by the file. The file is not cut while anyone holds a
        // map of it (`Hold::if_only`), nor written again below its length by the log (its writes only append), so the bytes are
        // initialized and do not change while borrowed; the map lives as long as `self`. That no other process cuts or
        // rewrites the file is the condition any memory map rests on; the broker holds a lock on its directory.
        unsafe { std::slice::from_raw_parts(self.map.raw.as_ptr().add(self.start), self.len) }
    }
}

impl OsFile {
    fn write_all(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let total = total_bytes(parts) as u64;
        let mut written: u64 = 0;
        let mut rest: Vec<IoSlice<'_>>;
        let mut left: &mut [IoSlice<'_>] = &mut [];
        // Nearly always the first call takes everything; only a short write makes the copy of the list.
        while written < total {
            let next = if written == 0 { parts } else { &*left };
            let next = &next[..next.len().min(PARTS_PER_CALL)];
            let wrote = retry(|| Ok(rustix::io::pwritev(&self.file, next, position + written)?))?;
            if wrote == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero));
            }
            if written == 0 && (wrote as u64) < total {
                rest = parts.to_vec();
                left = &mut rest;
            }
            written += wrote as u64;
            if written < total {
                IoSlice::advance_slices(&mut left, wrote);
            }
        }
        Ok(())
    }
}

impl File for OsFile {
    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        write_starts_within(position, self.len())?;
        self.write_all(position, parts)?;
        self.len.fetch_max(position + total_bytes(parts) as u64, Ordering::SeqCst);
        Ok(())
    }

    fn read_exact_at(&self, position: u64, into: &mut [u8]) -> io::Result<()> {
        end_within(position, into.len(), self.len())?;
        self.file.read_exact_at(into, position)
    }

    fn slice(&self, position: u64, len: usize) -> io::Result<Bytes> {
        if len == 0 {
            end_within(position, len, self.len())?;
            return Ok(Bytes::new());
        }
        let map = self.mapped(position, len)?;
        let start = usize::try_from(position).map_err(io::Error::other)?;
        Ok(Bytes::from_owner(MappedRange { map, start, len }))
    }

    fn len(&self) -> u64 {
        self.len.load(Ordering::SeqCst)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut slot = self.map.lock();
        // A map nobody reads from is no reason to refuse.
        *slot = None;
        self.hold.if_only(|| self.file.set_len(len))?;
        self.len.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn make_room(&self, from: u64, to: u64) -> io::Result<bool> {
        debug_assert!(from >= self.len());
        self.write_all(from, &zeros(to.saturating_sub(from)))?;
        Ok(true)
    }

    fn cut_excess(&self) -> io::Result<()> {
        // Under the lock no slice is made; all that were lie below `len`, and so do the pages they are on: the one that
        // `len` falls into keeps its bytes up to there.
        let _slot = self.map.lock();
        self.file.set_len(self.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_in(dir: &Path) -> Arc<dyn File> {
        OsDisk::new().create(&dir.join("f")).unwrap()
    }

    #[test]
    fn slices_keep_their_bytes_while_the_file_grows_past_its_map() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(dir.path());
        file.write_at(0, &[IoSlice::new(b"head"), IoSlice::new(b"body")]).unwrap();
        let early = file.slice(2, 4).unwrap();
        let chunk = vec![7; 3 << 20];
        file.write_at(8, &[IoSlice::new(&chunk)]).unwrap();
        let late = file.slice(6, 3 << 20).unwrap();
        assert_eq!(&early[..], b"adbo");
        assert_eq!(&late[..3], b"dy\x07");
        assert_eq!(late.len(), 3 << 20);
        assert!(file.slice(9, 3 << 20).is_err());
        std::fs::remove_file(dir.path().join("f")).unwrap();
        assert!(late[2..].iter().all(|&byte| byte == 7));
    }

    #[test]
    fn a_file_that_may_be_mapped_is_not_cut() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(dir.path());
        file.write_at(0, &[IoSlice::new(b"0123456789")]).unwrap();
        file.set_len(8).unwrap();
        assert_eq!(file.len(), 8);
        let slice = file.slice(0, 8).unwrap();
        assert_eq!(file.set_len(3).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert_eq!((file.len(), &slice[..]), (8, &b"01234567"[..]));
        drop(slice);
        file.set_len(5).unwrap();
        assert!(file.slice(0, 6).is_err());

        // Nor by another handle while one from before lives on: it may yet map the file.
        let again = OsDisk::new().open(&dir.path().join("f")).unwrap();
        assert_eq!(again.set_len(3).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        let slice = file.slice(0, 5).unwrap();
        drop(file);
        assert!(again.set_len(3).is_err());
        drop(slice);
        again.set_len(3).unwrap();
    }

    #[test]
    fn room_is_past_the_length_and_goes_under_a_map() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(dir.path());
        let on_disk = || std::fs::metadata(dir.path().join("f")).unwrap().len();
        file.write_at(0, &[IoSlice::new(b"head")]).unwrap();
        assert!(file.make_room(4, 100_000).unwrap());
        assert_eq!((file.len(), on_disk()), (4, 100_000));
        let head = file.slice(0, 4).unwrap();
        assert!(file.slice(0, 5).is_err());
        file.write_at(4, &[IoSlice::new(b"body")]).unwrap();
        assert_eq!((file.len(), on_disk()), (8, 100_000));
        file.cut_excess().unwrap();
        assert_eq!((file.len(), on_disk()), (8, 8));
        assert_eq!((&head[..], &file.slice(0, 8).unwrap()[..]), (&b"head"[..], &b"headbody"[..]));
    }

    #[test]
    fn many_small_parts_are_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_in(dir.path());
        let parts: Vec<Vec<u8>> = (0..3000u16).map(|n| n.to_be_bytes().to_vec()).collect();
        // More parts than one call takes.
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        file.write_at(0, &slices).unwrap();
        let mut all = vec![0; 6000];
        file.read_exact_at(0, &mut all).unwrap();
        assert_eq!(all, parts.concat());
    }

    #[test]
    fn the_oldest_map_makes_room() {
        let order = MapOrder::default();
        let slots: Vec<Arc<MapSlot>> = (0..=MAPS_LIMIT).map(|_| Arc::default()).collect();
        for slot in &slots {
            order.add(slot);
        }
        assert_eq!(order.0.lock().len(), MAPS_LIMIT);
    }
}
