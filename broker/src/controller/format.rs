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
/// The version this program writes. 0 had no file, no checkpoints and no snapshots of producers; all of it is read.
const VERSION: u32 = 1;

/// Looks at the version; `holds_cluster` says whether anything was written here before.
pub(super) fn check(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    holds_cluster: bool,
    effects: &mut ControllerEffects,
) -> Result<(), OpenError> {
    let path = folder.join(FORMAT_FILE);
    match disk.read(&path) {
        Ok(text) => {
            let refuse = |message| Err(OpenError::Format { path: path.clone(), message });
            match parse(&text) {
                Some(version) if version <= VERSION => return Ok(()),
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
        tracing::info!(folder = %folder.display(), to = VERSION, "upgrading a folder of version 0");
    }
    let (disk, contents) = (Arc::clone(disk), format!("version: {VERSION}\n"));
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
    use super::*;

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
