//! Changes of names that no directory sync has made durable yet.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Create { path: PathBuf, file: Option<u64> },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
}

impl NameChange {
    pub(super) fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Create { path, .. } | Self::Remove { path } => path.parent() == Some(dir),
            Self::Rename { from, to } => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, Option<u64>>) {
        match self {
            Self::Create { path, file } => drop(names.insert(path.clone(), *file)),
            Self::Remove { path } => names.retain(|name, _| !name.starts_with(path)),
            Self::Rename { from, to } => {
                let inside: Vec<_> = names.keys().filter(|name| name.starts_with(from)).cloned().collect();
                for name in inside {
                    let tail = name.strip_prefix(from).unwrap_or(Path::new("")).to_owned();
                    let moved = if tail.as_os_str().is_empty() { to.clone() } else { to.join(tail) };
                    if let Some(file) = names.remove(&name) {
                        names.insert(moved, file);
                    }
                }
            }
        }
    }
}
