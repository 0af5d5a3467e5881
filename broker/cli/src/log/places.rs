//! What a path leads to: a file of a log, the folder of a partition, or a folder with such folders in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use highwater_storage::disk::{DirEntry, Disk};
use highwater_storage::inspect::FileKind;
use highwater_storage::{LogError, Offset};

/// How deep partition folders may lie below the folder that is named: a data folder holds nodes, a node partitions.
const DEPTH: usize = 3;

/// What a file holds, told from its name. Files that are about to go or to come (`.deleted`, `.cleaned`, `.swap`) hold
/// what those hold whose names they had or will have.
fn kind_of(path: &Path) -> Option<FileKind> {
    let name = path.file_name()?.to_str()?;
    let coming_or_going =
        [".deleted", ".cleaned", ".swap"].iter().find_map(|suffix| name.strip_suffix(suffix));
    FileKind::of(coming_or_going.unwrap_or(name))
}

/// A path, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf, FileKind),
    Partition(PathBuf),
}

/// What there is at a path and below it: partitions by name, offset checkpoints of their node before them.
///
/// Folders that are being deleted (`-delete`) are passed over.
pub(super) fn find(path: &Path) -> io::Result<Vec<Place>> {
    if !fs::metadata(path)?.is_dir() {
        let kind = kind_of(path).ok_or_else(|| wrong("no file of a log: its name says nothing"))?;
        return Ok(vec![Place::File(path.to_owned(), kind)]);
    }
    let mut places = Vec::new();
    find_below(path, DEPTH, &mut places)?;
    if places.is_empty() { Err(wrong("no partition in this folder")) } else { Ok(places) }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

fn find_below(dir: &Path, depth: usize, places: &mut Vec<Place>) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir)? {
        paths.push(entry?.path());
    }
    paths.sort_by_cached_key(|path| by_partition(path));
    let kinds = || paths.iter().filter_map(|path| Some((path, kind_of(path)?)));
    // Kafka keeps a `.checkpoint` of its own cluster's records beside its partitions; only a segment makes a partition.
    if kinds().any(|(_, kind)| matches!(kind, FileKind::Log(_) | FileKind::PartitionMetadata)) {
        places.push(Place::Partition(dir.to_owned()));
        return Ok(());
    }
    let checkpoints = kinds().filter(|(_, kind)| *kind == FileKind::OffsetCheckpoint);
    places.extend(checkpoints.map(|(path, kind)| Place::File(path.clone(), kind)));
    for path in paths.iter().filter(|path| path.is_dir() && !is_going(path)) {
        if depth > 0 {
            match find_below(path, depth - 1, places) {
                // It was deleted while we were on the way.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => found?,
            }
        }
    }
    Ok(())
}

fn is_going(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(b"-delete"))
}

/// `orders-10` after `orders-9`.
fn by_partition(path: &Path) -> (String, i32, PathBuf) {
    let (topic, partition) = partition_of(path);
    (topic, partition.unwrap_or(-1), path.to_owned())
}

/// Whether a folder or file went away while it was looked at: a topic was deleted, or retention took a segment.
pub(super) fn is_gone(path: &Path) -> bool {
    matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// A partition's files with what they hold: segments in order, each before its companions, the others behind them.
///
/// # Errors
/// What the disk says.
pub(super) fn files(disk: &dyn Disk, dir: &Path) -> Result<Vec<(PathBuf, FileKind)>, LogError> {
    let listed = disk.list(dir);
    let entries = listed.map_err(|source| LogError::Io { what: "list", path: dir.to_owned(), source })?;
    let kind = |entry: DirEntry| Some((dir.join(&entry.name), FileKind::of(&entry.name)?));
    let mut files: Vec<_> = entries.into_iter().filter_map(kind).collect();
    files.sort_by_key(|(_, kind)| match kind {
        FileKind::Log(base) => (*base, 0),
        FileKind::OffsetIndex(base) => (*base, 1),
        FileKind::TimeIndex(base) => (*base, 2),
        FileKind::TransactionIndex(base) => (*base, 3),
        FileKind::ProducerSnapshot(base) => (*base, 4),
        FileKind::LeaderEpochs => (Offset::MAX, 5),
        FileKind::PartitionMetadata => (Offset::MAX, 6),
        FileKind::OffsetCheckpoint => (Offset::MAX, 7),
    });
    Ok(files)
}

/// Topic and partition of a folder, by its name: `orders-3`, also `orders-3.<id>-stray` and the like.
pub(super) fn partition_of(dir: &Path) -> (String, Option<i32>) {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parts = |name: &str| {
        let (topic, partition) = name.rsplit_once('-')?;
        let is_number = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
        Some((topic.to_owned(), partition.parse().ok().filter(|_| is_number)?))
    };
    let before_suffix = || parts(name.rsplit_once('.')?.0);
    match parts(&name).or_else(before_suffix) {
        Some((topic, partition)) => (topic, Some(partition)),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use highwater_storage::disk::OsDisk;

    use super::*;

    #[test]
    fn files_that_go_or_come_are_known_by_the_names_they_had() {
        for name in
            ["00000000000000000007.log", "00000000000000000007.log.deleted", "00000000000000000007.log.swap"]
        {
            assert_eq!(kind_of(Path::new(name)), Some(FileKind::Log(Offset::new(7))), "{name}");
        }
        for name in ["meta.properties", "highwater.lock", "bootstrap.checkpoint", ".lock", "log"] {
            assert_eq!(kind_of(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn a_partitions_files_come_segment_by_segment() {
        let dir = tempfile::tempdir().unwrap();
        let sorted = [
            "00000000000000000000.log",
            "00000000000000000000.index",
            "00000000000000000009.log",
            "00000000000000000009.timeindex",
            "00000000000000000009.snapshot",
            "leader-epoch-checkpoint",
            "partition.metadata",
        ];
        sorted.iter().chain(&["stranger", "00000000000000000000.log.deleted"]).for_each(|name| {
            fs::write(dir.path().join(name), b"").unwrap();
        });
        let found = files(&OsDisk::read_only(), dir.path()).unwrap();
        let names = found.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), sorted);
    }

    #[test]
    fn folders_are_named_after_their_partitions() {
        for (name, topic, partition) in [
            ("orders-3", "orders", Some(3)),
            ("my-orders-12", "my-orders", Some(12)),
            ("orders-3.6d08a5d5ebca4862-stray", "orders", Some(3)),
            ("a.b-0.6d08-delete", "a.b", Some(0)),
            ("a.b-0", "a.b", Some(0)),
            ("cluster", "cluster", None),
            ("orders-x", "orders-x", None),
            ("orders-+1", "orders-+1", None),
            ("orders-99999999999", "orders-99999999999", None),
        ] {
            assert_eq!(partition_of(Path::new(name)), (topic.to_owned(), partition), "{name}");
        }
    }

    #[test]
    fn partitions_are_found_in_any_folder_above_them() {
        let data = tempfile::tempdir().unwrap();
        let segment = |dir: &str| {
            let dir = data.path().join(dir);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("00000000000000000000.log"), b"").unwrap();
            dir
        };
        let cluster = segment("cluster");
        let [ten, nine] = ["node-0/t-10", "node-0/t-9"].map(segment);
        segment("node-0/t-1.0-delete");
        let checkpoint = data.path().join("node-0/recovery-point-offset-checkpoint");
        fs::write(&checkpoint, b"").unwrap();
        fs::write(data.path().join("highwater.lock"), b"").unwrap();
        let node = [
            Place::File(checkpoint.clone(), FileKind::OffsetCheckpoint),
            Place::Partition(nine),
            Place::Partition(ten.clone()),
        ];
        let all: Vec<_> = [Place::Partition(cluster)].into_iter().chain(node.clone()).collect();
        assert_eq!(find(data.path()).unwrap(), all);
        assert_eq!(find(&data.path().join("node-0")).unwrap(), node);
        assert_eq!(find(&ten).unwrap(), [Place::Partition(ten)]);
        assert_eq!(find(&checkpoint).unwrap(), node[..1]);
        assert!(find(&data.path().join("highwater.lock")).is_err());
        assert!(find(&data.path().join("nothing")).is_err());
        let empty = tempfile::tempdir().unwrap();
        assert!(find(empty.path()).is_err());
    }
}
