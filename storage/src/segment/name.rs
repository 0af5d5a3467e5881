//! What the files of a segment are called.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{LogError, Offset, scan::ScanError};

/// What stands beside a `.log` and goes with it, in the order in which it goes.
pub(crate) const COMPANIONS: [&str; 3] = ["index", "timeindex", "txnindex"];

/// A segment's place on disk: `<base offset, 20 digits>.<extension>` in the log's directory.
#[derive(Debug, Clone)]
pub(crate) struct SegmentName {
    pub(crate) dir: Arc<Path>,
    pub(crate) base_offset: Offset,
}

impl SegmentName {
    pub(crate) fn new(dir: &Arc<Path>, base_offset: Offset) -> Self {
        Self { dir: Arc::clone(dir), base_offset }
    }

    pub(crate) fn path(&self, extension: &str) -> PathBuf {
        self.dir.join(file_name(self.base_offset, extension))
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.path("log")
    }

    /// The files that may stand beside the `.log`.
    pub(crate) fn companion_paths(&self) -> impl Iterator<Item = PathBuf> {
        COMPANIONS.iter().map(|extension| self.path(extension))
    }

    /// All files there may be, the `.log` first.
    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.log_path()).chain(self.companion_paths())
    }

    /// A failure at the `.log`.
    pub(crate) fn failed(&self, what: &'static str, source: io::Error) -> LogError {
        self.failed_at("log", what, source)
    }

    pub(crate) fn failed_at(&self, extension: &str, what: &'static str, source: io::Error) -> LogError {
        LogError::Io { what, path: self.path(extension), source }
    }

    /// A failure of a walk through the `.log`.
    pub(crate) fn scan_failed(&self, error: ScanError) -> LogError {
        match error {
            ScanError::Io(source) => self.failed("read", source),
            ScanError::Damaged { position, source } => {
                LogError::Corrupt { path: self.log_path(), position, source }
            }
        }
    }
}

/// `<base, 20 digits>.<extension>`.
pub(crate) fn file_name(base_offset: Offset, extension: &str) -> String {
    format!("{:020}.{extension}", base_offset.get())
}

/// The base offset in the name of a `.log` file (or of one of its companions).
pub(crate) fn base_of(name: &str, extension: &str) -> Option<Offset> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Offset::new)
}
