//! What the logs take on disk, as DescribeLogDirs tells of it: there is one folder, and nothing in it is moved.

use super::{DescribedLog, LogDirReply, LogsToDescribe, Node, Replica};

impl Node {
    /// `None` asks for all. A partition that is not there, or could not be opened, is left out.
    pub(super) fn describe_log_dir(&self, asked: Option<&LogsToDescribe>) -> LogDirReply {
        let mut logs = Vec::new();
        for (name, partition, Replica { log, .. }) in self.replicas() {
            if asked.is_none_or(|asked| asked.contains(&(name.clone(), partition))) {
                let size_bytes = log.size_bytes();
                logs.push(DescribedLog { topic: name.clone(), partition, size_bytes });
            }
        }
        logs.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
        let limit_bytes = self.expiry.limit_bytes;
        let free_bytes = limit_bytes.map(|limit| limit.saturating_sub(self.expiry.used_bytes));
        LogDirReply { folder: self.folder.clone(), limit_bytes, free_bytes, logs }
    }
}
