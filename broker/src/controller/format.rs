//! The version of a data folder's form: `highwater.format`, one line of text at its top.
//!
//! A folder of a newer version than this program knows is refused, never guessed at. One that holds a cluster and no
//! such file was written before there were versions; it is opened, and marked.

use std::io;
use std::path::Path;
use std::sync::Arc;

use highwater_storage::disk::Disk;

use super::{ControllerEffect, ControllerEffects};
use crate::node::{DiskWork, OpenError};

/// The file's name.
const FORMAT_FILE: &str = "highwater.format";
/// The newest version this program knows, that of a cluster of several nodes: its log tells of their replicas. 0 had no
/// file, no checkpoints and no snapshots of producers; all of it is read.
const VERSION: u32 = 2;
/// The version of a cluster of one node, which programs before this one read, too.
const VERSION_OF_ONE_NODE: u32 = 1;

/// Looks at the version, and marks a folder of an older one than is written now; `holds_cluster` says whether anything was
/// written here before.
pub(super) fn check(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    holds_cluster: bool,
    nodes: usize,
    effects: &mut ControllerEffects,
) -> Result<(), OpenError> {
    let path = folder.join(FORMAT_FILE);
    let written = if nodes > 1 { VERSION } else { VERSION_OF_ONE_NODE };
    match disk.read(&path) {
        Ok(text) => {
            let refuse = |message| Err(OpenError::Format { path: path.clone(), message });
            match parse(&text) {
                Some(version) if (written..=VERSION).contains(&version) => return Ok(()),
                Some(version) if version < written => {}
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
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(OpenError::Io { path, source }),
    }
    if holds_cluster {
        tracing::info!(folder = %folder.display(), to = written, "upgrading a folder of an older version");
    }
    let (disk, contents) = (Arc::clone(disk), format!("version: {written}\n"));
    effects.push(ControllerEffect::Disk(DiskWork::WriteFile { disk, path, contents }));
    Ok(())
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

    /// The version that a folder is marked with, if it is.
    fn marked(found: Option<&str>, nodes: usize) -> Option<Option<String>> {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let folder = Path::new("data");
        disk.create_dir(folder).unwrap();
        if let Some(text) = found {
            disk.write_atomic(&folder.join(FORMAT_FILE), text.as_bytes()).unwrap();
        }
        let mut effects = Vec::new();
        check(&disk, folder, found.is_some(), nodes, &mut effects).ok()?;
        Some(effects.pop().map(|effect| match effect {
            ControllerEffect::Disk(DiskWork::WriteFile { contents, .. }) => contents,
            other => panic!("{other:?}"),
        }))
    }

    #[test]
    fn a_folder_of_several_nodes_is_not_for_programs_that_know_of_one() {
        let [one, two] = ["version: 1\n", "version: 2\n"];
        let cases = [
            (None, 1, Some(one)),
            (None, 3, Some(two)),
            (Some(one), 1, None),
            (Some(one), 3, Some(two)),
            (Some(two), 1, None),
            (Some(two), 3, None),
            (Some("version: 0\n"), 1, Some(one)),
        ];
        for (found, nodes, expected) in cases {
            assert_eq!(marked(found, nodes), Some(expected.map(str::to_owned)), "{found:?}, {nodes}");
        }
        assert_eq!(marked(Some("version: 3\n"), 3), None);
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
