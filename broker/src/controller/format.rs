//! The version of a data folder's form: `highwater.format`, one line of text at its top.
//!
//! A folder of a newer version than this program knows is refused, never guessed at. One that holds a cluster and no
//! such file was written before there were versions; it is opened, and marked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_storage::disk::Disk;
use parking_lot::Mutex;

use super::{ControllerEffect, ControllerEffects};
use crate::node::{DiskWork, OpenError};

/// The file's name.
const FORMAT_FILE: &str = "highwater.format";
/// The newest version this program knows: the cluster's log may begin with a [snapshot](super::snapshot). A folder becomes
/// one when its first is written.
pub(super) const VERSION_WITH_SNAPSHOTS: u32 = 3;
/// The version of a cluster of several nodes: its log tells of their replicas. 0 had no file, no checkpoints and no snapshots
/// of producers; all of it is read.
const VERSION_OF_MANY_NODES: u32 = 2;
/// The version of a cluster of one node, which programs before this one read, too.
const VERSION_OF_ONE_NODE: u32 = 1;
const VERSION: u32 = VERSION_WITH_SNAPSHOTS;

/// The file of a folder. Whoever writes it and in whatever order, the newest version stays.
#[derive(Debug)]
pub struct FormatFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    written: Mutex<u32>,
}

impl FormatFile {
    /// Makes the file say this version, for good, unless it says it already or one that is newer.
    ///
    /// # Errors
    /// What the disk says.
    pub fn raise(&self, version: u32) -> io::Result<()> {
        let mut written = self.written.lock();
        if *written < version {
            self.disk.write_atomic(&self.path, format!("version: {version}\n").as_bytes())?;
            *written = version;
        }
        Ok(())
    }
}

/// Looks at the version, and marks a folder of an older one than is written now; `holds_cluster` says whether anything was
/// written here before.
pub(super) fn check(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    holds_cluster: bool,
    nodes: usize,
    effects: &mut ControllerEffects,
) -> Result<Arc<FormatFile>, OpenError> {
    let path = folder.join(FORMAT_FILE);
    let least = if nodes > 1 { VERSION_OF_MANY_NODES } else { VERSION_OF_ONE_NODE };
    let file = |version| {
        let (disk, path) = (Arc::clone(disk), path.clone());
        Arc::new(FormatFile { disk, path, written: Mutex::new(version) })
    };
    let found = match disk.read(&path) {
        Ok(text) => {
            let refuse = |message| Err(OpenError::Format { path: path.clone(), message });
            match parse(&text) {
                Some(version) if (least..=VERSION).contains(&version) => return Ok(file(version)),
                Some(version) if version < least => version,
                Some(version) => {
                    return refuse(format!(
                        "version {version} was written by a newer Highwater; this program knows versions up to \
                         {VERSION}: start the newer one, or another folder"
                    ));
                }
                None => {
                    return refuse(format!("{:?} is no version", String::from_utf8_lossy(&text)));
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    if holds_cluster {
        tracing::info!(folder = %folder.display(), to = least, "upgrading a folder of an older version");
    }
    let file = file(found);
    effects.push(ControllerEffect::Disk(DiskWork::MarkFormat { file: Arc::clone(&file), version: least }));
    Ok(file)
}

fn parse(text: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(text).ok()?;
    let digits = line.strip_suffix('\n').unwrap_or(line).strip_prefix("version: ")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use highwater_storage::disk::MemoryDisk;

    use super::*;

    /// The version that a folder is marked with, if it is marked anew.
    fn marked(found: Option<&str>, nodes: usize) -> Option<Option<u32>> {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let folder = Path::new("data");
        disk.create_dir(folder).unwrap();
        if let Some(text) = found {
            disk.write_atomic(&folder.join(FORMAT_FILE), text.as_bytes()).unwrap();
        }
        let mut effects = Vec::new();
        check(&disk, folder, found.is_some(), nodes, &mut effects).ok()?;
        Some(effects.pop().map(|effect| match effect {
            ControllerEffect::Disk(DiskWork::MarkFormat { version, .. }) => version,
            other => panic!("{other:?}"),
        }))
    }

    #[test]
    fn a_folder_of_several_nodes_is_not_for_programs_that_know_of_one() {
        let [one, two, three] = ["version: 1\n", "version: 2\n", "version: 3\n"];
        let cases = [
            (None, 1, Some(1)),
            (None, 3, Some(2)),
            (Some(one), 1, None),
            (Some(one), 3, Some(2)),
            (Some(two), 1, None),
            (Some(two), 3, None),
            (Some(three), 1, None),
            (Some(three), 3, None),
            (Some("version: 0\n"), 1, Some(1)),
        ];
        for (found, nodes, expected) in cases {
            assert_eq!(marked(found, nodes), Some(expected), "{found:?}, {nodes}");
        }
        assert_eq!(marked(Some("version: 4\n"), 3), None);
    }

    #[test]
    fn a_version_that_is_written_late_is_not_an_older_one() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let folder = Path::new("data");
        disk.create_dir(folder).unwrap();
        let file = check(&disk, folder, false, 3, &mut Vec::new()).unwrap();
        for version in [VERSION_WITH_SNAPSHOTS, VERSION_OF_MANY_NODES] {
            file.raise(version).unwrap();
            assert_eq!(disk.read(&folder.join(FORMAT_FILE)).unwrap(), b"version: 3\n");
        }
    }

    #[test]
    fn a_version_is_one_line_and_nothing_else() {
        assert_eq!(parse(b"version: 1\n"), Some(1));
        assert_eq!(parse(b"version: 12"), Some(12));
        for bad in [
            "",
            "\n",
            "version: ",
            "version: -1",
            "version: +1",
            "version: 1\n\n",
            "1",
            "version: 99999999999",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
