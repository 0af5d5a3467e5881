//! A disk in memory: for embedded clusters without a folder, and under the fault disk.

mod block;

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, IoSlice},
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use self::block::Block;
use super::{DirEntry, Disk, File, end_within, total_bytes, write_starts_within};

/// A file grows in pieces of the heap until it is this long, in blocks of its own memory from there on: a page that is
/// used in part must not cost a short file more than it holds.
const BLOCKS_FROM_BYTES: u64 = 2 << 20;
/// A block is as long as the file before it, up to this.
const MAX_BLOCK_BYTES: u64 = 64 << 20;
/// In a short file small writes gather in a piece until it holds this many bytes; a larger write becomes a piece of its
/// own. A read within one closed piece or one block is a reference, any other is a copy.
const PIECE_BYTES: usize = 64 << 10;
/// Writes from this size on are kept as a piece of their own.
const OWN_PIECE_BYTES: usize = 16 << 10;

/// Directories and files in memory. Syncs do nothing: nothing here outlives the process.
#[derive(Default)]
pub struct MemoryDisk {
    names: Mutex<BTreeMap<PathBuf, Node>>,
}

#[derive(Clone)]
enum Node {
    Dir,
    File(Arc<MemoryFile>),
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes all files hold.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let files = self.names.lock();
        files.values().map(|node| if let Node::File(file) = node { file.len() } else { 0 }).sum()
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").field("names", &self.names.lock().len()).finish()
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no {}", path.display()))
}

fn has_parent(names: &BTreeMap<PathBuf, Node>, path: &Path) -> bool {
    match path.parent() {
        None => true,
        Some(parent) if parent.as_os_str().is_empty() => true,
        Some(parent) => matches!(names.get(parent), Some(Node::Dir)),
    }
}

/// A directory and everything in it. Paths are ordered by their components, so these stand together.
fn below<'a>(
    names: &'a BTreeMap<PathBuf, Node>,
    dir: &'a Path,
) -> impl Iterator<Item = (&'a PathBuf, &'a Node)> {
    names
        .range::<Path, _>((Bound::Included(dir), Bound::Unbounded))
        .take_while(move |(path, _)| path.starts_with(dir))
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        match self.names.lock().get(path) {
            Some(Node::File(file)) => Ok(Arc::clone(file) as Arc<dyn File>),
            Some(Node::Dir) => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            None => Err(not_found(path)),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut names = self.names.lock();
        if names.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        if !has_parent(&names, path) {
            return Err(not_found(path.parent().unwrap_or(path)));
        }
        let file = Arc::new(MemoryFile::default());
        names.insert(path.to_owned(), Node::File(Arc::clone(&file)));
        Ok(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let names = self.names.lock();
        if !dir.as_os_str().is_empty() && !matches!(names.get(dir), Some(Node::Dir)) {
            return Err(not_found(dir));
        }
        let below = below(&names, dir).filter(|(path, _)| path.parent() == Some(dir));
        let mut entries: Vec<_> = below
            .filter_map(|(path, node)| {
                let name = path.file_name()?.to_str()?.to_owned();
                Some(DirEntry { name, is_dir: matches!(node, Node::Dir) })
            })
            .collect();
        entries.sort();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        if !has_parent(&names, to) {
            return Err(not_found(to.parent().unwrap_or(to)));
        }
        let node = names.get(from).cloned().ok_or_else(|| not_found(from))?;
        if matches!(names.get(to), Some(Node::Dir)) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        if matches!(node, Node::Dir) {
            let inside: Vec<PathBuf> = below(&names, from).map(|(path, _)| path.clone()).collect();
            for path in inside {
                let tail = path.strip_prefix(from).map_err(io::Error::other)?;
                let moved = if tail.as_os_str().is_empty() { to.to_owned() } else { to.join(tail) };
                if let Some(node) = names.remove(&path) {
                    names.insert(moved, node);
                }
            }
        } else {
            names.remove(from);
            names.insert(to.to_owned(), node);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        match names.get(path) {
            Some(Node::File(_)) => drop(names.remove(path)),
            Some(Node::Dir) => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
            None => return Err(not_found(path)),
        }
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        if !matches!(names.get(dir), Some(Node::Dir)) {
            return Err(not_found(dir));
        }
        let inside: Vec<PathBuf> = below(&names, dir).map(|(path, _)| path.clone()).collect();
        for path in inside {
            names.remove(&path);
        }
        Ok(())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        for path in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            match names.get(path) {
                Some(Node::Dir) => break,
                Some(Node::File(_)) => return Err(io::Error::from(io::ErrorKind::NotADirectory)),
                None => drop(names.insert(path.to_owned(), Node::Dir)),
            }
        }
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self, _dir: &Path) -> io::Result<bool> {
        Ok(true)
    }
}

/// A file as a row of pieces, the last of which may still grow.
#[derive(Default)]
struct MemoryFile {
    contents: RwLock<Contents>,
}

#[derive(Default)]
struct Contents {
    /// Closed pieces, each with the position where it ends.
    closed: Vec<(u64, Bytes)>,
    open: Open,
}

/// The piece at the end, which grows.
#[derive(Debug)]
enum Open {
    Heap(Vec<u8>),
    Block(Block),
}

impl Default for Open {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl AsRef<[u8]> for Open {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Block(block) => block.as_ref(),
        }
    }
}

impl Open {
    fn into_bytes(self) -> Bytes {
        match self {
            Self::Heap(bytes) => Bytes::from(bytes),
            Self::Block(block) => block.slice(0..block.len()),
        }
    }
}

impl Contents {
    fn closed_len(&self) -> u64 {
        self.closed.last().map_or(0, |(end, _)| *end)
    }

    fn len(&self) -> u64 {
        self.closed_len() + self.open.as_ref().len() as u64
    }

    fn close_open(&mut self) {
        let end = self.len();
        let piece = std::mem::take(&mut self.open).into_bytes();
        if !piece.is_empty() {
            self.closed.push((end, piece));
        }
    }

    /// Fails before it begins or not at all.
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let total = total_bytes(parts);
        if self.len() < BLOCKS_FROM_BYTES {
            self.append_to_heap(parts, total);
            return Ok(());
        }
        let room = if let Open::Block(block) = &self.open { block.room() } else { 0 };
        let mut next = if total > room { Some(self.next_block(total - room)?) } else { None };
        for part in parts {
            let mut rest: &[u8] = part;
            loop {
                if let Open::Block(block) = &mut self.open {
                    rest = block.append(rest);
                }
                if rest.is_empty() {
                    break;
                }
                self.close_open();
                self.open = Open::Block(next.take().unwrap_or_else(|| unreachable!("there is room for all")));
            }
        }
        Ok(())
    }

    fn next_block(&self, least_bytes: usize) -> io::Result<Block> {
        let capacity = self.len().next_power_of_two().clamp(BLOCKS_FROM_BYTES, MAX_BLOCK_BYTES);
        Block::with_capacity(usize::try_from(capacity).map_err(io::Error::other)?.max(least_bytes))
    }

    fn append_to_heap(&mut self, parts: &[IoSlice<'_>], total: usize) {
        let own_piece = total >= OWN_PIECE_BYTES;
        if own_piece || self.open.as_ref().len() + total > PIECE_BYTES {
            self.close_open();
        }
        let mut piece = match std::mem::take(&mut self.open) {
            Open::Heap(piece) => piece,
            Open::Block(_) => unreachable!("a file this short has no blocks"),
        };
        if own_piece {
            piece.reserve_exact(total);
        }
        for part in parts {
            piece.extend_from_slice(part);
        }
        self.open = Open::Heap(piece);
        if own_piece {
            self.close_open();
        }
    }

    /// Reopens everything from `position` on, so that it can be written over. Slices handed out keep the old bytes.
    fn cut(&mut self, position: u64) -> io::Result<()> {
        if position < self.closed_len() {
            self.open = Open::default();
        }
        while position < self.closed_len() {
            let Some((end, piece)) = self.closed.pop() else { break };
            let start = end - piece.len() as u64;
            if start < position {
                let keep = usize::try_from(position - start).map_err(io::Error::other)?;
                self.open = Open::Heap(piece[..keep].to_vec());
            }
        }
        let keep = usize::try_from(position - self.closed_len()).map_err(io::Error::other)?;
        if keep < self.open.as_ref().len() {
            self.open = Open::Heap(self.open.as_ref()[..keep].to_vec());
        }
        Ok(())
    }

    /// Hands each run of bytes of the range to `visit`, in order.
    fn visit(&self, position: u64, len: usize, mut visit: impl FnMut(&[u8])) -> io::Result<()> {
        let end = end_within(position, len, self.len())?;
        let first = self.closed.partition_point(|(piece_end, _)| *piece_end <= position);
        let pieces = self.closed[first..].iter().map(|(piece_end, piece)| (*piece_end, &piece[..]));
        for (piece_end, piece) in pieces.chain([(self.len(), self.open.as_ref())]) {
            let start = piece_end - piece.len() as u64;
            if start >= end {
                break;
            }
            let from = usize::try_from(position.saturating_sub(start)).map_err(io::Error::other)?;
            let to = usize::try_from(end.min(piece_end) - start).map_err(io::Error::other)?;
            visit(&piece[from.min(to)..to]);
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile").field("len", &self.len()).finish()
    }
}

impl File for MemoryFile {
    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut contents = self.contents.write();
        let len = contents.len();
        write_starts_within(position, len)?;
        if position == len {
            return contents.append(parts);
        }
        let end = position + total_bytes(parts) as u64;
        let mut after = Vec::new();
        if end < len {
            let rest = usize::try_from(len - end).map_err(io::Error::other)?;
            contents.visit(end, rest, |bytes| after.extend_from_slice(bytes))?;
        }
        contents.cut(position)?;
        contents.append(parts)?;
        contents.append(&[IoSlice::new(&after)])
    }

    fn read_exact_at(&self, position: u64, mut into: &mut [u8]) -> io::Result<()> {
        let contents = self.contents.read();
        contents.visit(position, into.len(), |bytes| {
            let (now, later) = std::mem::take(&mut into).split_at_mut(bytes.len());
            now.copy_from_slice(bytes);
            into = later;
        })
    }

    fn slice(&self, position: u64, len: usize) -> io::Result<Bytes> {
        let contents = self.contents.read();
        let end = end_within(position, len, contents.len())?;
        let first = contents.closed.partition_point(|(piece_end, _)| *piece_end <= position);
        if let Some((piece_end, piece)) = contents.closed.get(first)
            && *piece_end >= end
        {
            let start = *piece_end - piece.len() as u64;
            let from = usize::try_from(position - start).map_err(io::Error::other)?;
            return Ok(piece.slice(from..from + len));
        }
        if let Open::Block(block) = &contents.open
            && position >= contents.closed_len()
        {
            let from = usize::try_from(position - contents.closed_len()).map_err(io::Error::other)?;
            return Ok(block.slice(from..from + len));
        }
        let mut copy = Vec::with_capacity(len);
        contents.visit(position, len, |bytes| copy.extend_from_slice(bytes))?;
        Ok(Bytes::from(copy))
    }

    fn len(&self) -> u64 {
        self.contents.read().len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut contents = self.contents.write();
        let now = contents.len();
        if len < now {
            contents.cut(len)
        } else {
            let zeros = vec![0; usize::try_from(len - now).map_err(io::Error::other)?];
            contents.append(&[IoSlice::new(&zeros)])
        }
    }

    /// Writes here fail before they begin or not at all.
    fn cut_excess(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How long the file is to begin with: nothing, about where blocks begin, or about where the first of them ends.
    fn before() -> impl Strategy<Value = usize> {
        let blocks_from = usize::try_from(BLOCKS_FROM_BYTES).unwrap();
        let near = |at: usize| at - 90_000..at + 9_000;
        prop_oneof![Just(0), near(blocks_from), near(2 * blocks_from)]
    }

    proptest! {
        /// Any mix of appends, overwrites and cuts leaves what a plain vector would hold, in every way of reading.
        #[test]
        fn a_file_is_a_vector(before in before(), steps in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..40_000, 0u8..8, any::<u8>()), 1..30)) {
            let file = MemoryFile::default();
            let mut model = vec![7; before];
            file.write_at(0, &[IoSlice::new(&model)]).unwrap();
            for (place, size, kind, fill) in steps {
                match kind {
                    0 => {
                        let len = place.index(model.len() + 100);
                        model.resize(len, 0);
                        file.set_len(len as u64).unwrap();
                    }
                    1 => {
                        let at = place.index(model.len() + 1);
                        let end = (at + size).max(model.len());
                        model.resize(end, 0);
                        model[at..at + size].fill(fill);
                        file.write_at(at as u64, &[IoSlice::new(&vec![fill; size])]).unwrap();
                    }
                    _ => {
                        let at = model.len() as u64;
                        model.extend(std::iter::repeat_n(fill, size));
                        let half = size / 2;
                        file.write_at(at, &[IoSlice::new(&vec![fill; half]), IoSlice::new(&vec![fill; size - half])]).unwrap();
                    }
                }
                prop_assert_eq!(file.len(), model.len() as u64);
                let from = place.index(model.len() + 1);
                let len = (model.len() - from).min(size * 2);
                let slice = file.slice(from as u64, len).unwrap();
                prop_assert_eq!(&slice[..], &model[from..from + len]);
                let mut read = vec![0; len];
                file.read_exact_at(from as u64, &mut read).unwrap();
                prop_assert_eq!(&read[..], &model[from..from + len]);
                prop_assert!(file.slice(model.len() as u64, 1).is_err());
            }
        }
    }

    #[test]
    fn a_renamed_directory_takes_its_files_along() {
        let disk = MemoryDisk::new();
        disk.create_dir(Path::new("a/b")).unwrap();
        disk.create(Path::new("a/b/f")).unwrap().write_at(0, &[IoSlice::new(b"x")]).unwrap();
        disk.rename(Path::new("a/b"), Path::new("a/c")).unwrap();
        assert_eq!(disk.read(Path::new("a/c/f")).unwrap(), b"x");
        assert!(disk.open(Path::new("a/b/f")).is_err());
        disk.remove_dir_all(Path::new("a/c")).unwrap();
        assert_eq!(disk.list(Path::new("a")).unwrap(), []);
    }
}
