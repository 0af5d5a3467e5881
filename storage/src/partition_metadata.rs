//! `partition.metadata`: the id of the topic a directory belongs to, in Kafka's form.

use std::path::Path;

use crate::{LogError, TopicId, disk::Disk};

/// The file's name, in the partition's directory.
pub const FILE_NAME: &str = "partition.metadata";

/// Writes the file of the partition's directory, for good. Kafka does so before the first append.
///
/// # Errors
/// What the disk says.
pub fn write(disk: &dyn Disk, dir: &Path, topic_id: TopicId) -> Result<(), LogError> {
    let path = dir.join(FILE_NAME);
    disk.write_atomic(&path, contents(topic_id).as_bytes()).map_err(LogError::io("write", path))
}

/// Writes the file into a directory that was just made, where a crash loses both or leaves what can be made again:
/// unsynced, as everything is until a sync of the log.
pub(crate) fn put(disk: &dyn Disk, dir: &Path, topic_id: TopicId) -> Result<(), LogError> {
    let path = dir.join(FILE_NAME);
    disk.put(&path, contents(topic_id).as_bytes()).map_err(LogError::io("write", path))
}

fn contents(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

/// Reads the file of the partition's directory; `None` if there is none.
///
/// # Errors
/// What the disk says; [`LogError::Malformed`] for other contents, also for a reserved id.
pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<TopicId>, LogError> {
    let path = dir.join(FILE_NAME);
    let text = match disk.read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("read", path)(error)),
    };
    parse(&text).map(Some).map_err(|what| LogError::Malformed { path, what })
}

/// The id in the file's bytes; `Err` says what is wrong with them.
pub(crate) fn parse(text: &[u8]) -> Result<TopicId, String> {
    let text = std::str::from_utf8(text).map_err(|_| "not UTF-8")?;
    let mut lines = text.lines();
    let mut value_of = |name: &str| {
        let (key, value) = lines.next()?.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    };
    if value_of("version") != Some("0") {
        return Err("no version 0".to_owned());
    }
    let id: TopicId = value_of("topic_id")
        .ok_or("no topic id")?
        .parse()
        .map_err(|error: crate::ParseTopicIdError| error.to_string())?;
    if id.is_zero() { Err("the reserved topic id".to_owned()) } else { Ok(id) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn round_trips_and_refuses_others() {
        let (disk, dir) = (MemoryDisk::new(), Path::new("t-0"));
        disk.create_dir(dir).unwrap();
        assert_eq!(read(&disk, dir).unwrap(), None);
        write(&disk, dir, TopicId::METADATA).unwrap();
        let text = disk.read(&dir.join(FILE_NAME)).unwrap();
        assert_eq!(text, b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(read(&disk, dir).unwrap(), Some(TopicId::METADATA));
        for bad in [
            "",
            "version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ",
            "version: 0",
            "version: 0\ntopic_id: AA",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            disk.write_atomic(&dir.join(FILE_NAME), bad.as_bytes()).unwrap();
            assert!(read(&disk, dir).is_err(), "{bad:?}");
        }
    }
}
