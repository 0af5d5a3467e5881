//! The first append of a log makes its files.
//!
//! A topic of thousands of partitions costs memory only until records come. Whatever was made before a disk without room
//! refused the rest is made again by the next append.

use super::Log;
use crate::{LogError, TopicId, partition_metadata};

/// What has still to be made beside the first segment's file.
#[derive(Debug)]
pub(super) struct Unborn {
    pub(super) topic_id: Option<TopicId>,
}

impl Log {
    /// Whether nothing of it is on the disk yet.
    #[must_use]
    pub fn is_unborn(&self) -> bool {
        self.unborn.is_some()
    }

    /// Makes directory and files, if that is still to be done.
    pub(super) fn be_born(&mut self) -> Result<(), LogError> {
        let Some(unborn) = &self.unborn else { return Ok(()) };
        let disk = &*self.disk;
        disk.create_dir(&self.dir).map_err(LogError::io("create", &*self.dir))?;
        if let Some(topic_id) = unborn.topic_id {
            partition_metadata::put(disk, &self.dir, topic_id)?;
        }
        self.segments.last_mut().expect("a log has a segment").create_file(disk)?;
        self.unborn = None;
        self.names_version += 1;
        Ok(())
    }
}
