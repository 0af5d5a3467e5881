//! Topics that there were and are not any more. A node that was down meanwhile finds their folders, and may remove them;
//! a folder of a topic that nobody knows is set aside.

use std::collections::{BTreeSet, VecDeque};

use highwater_storage::TopicId;

use crate::cluster::record::MetadataRecord;

/// How many are remembered. What a node has of an earlier one stays on its disk, out of the way.
const MAX_GONE_TOPICS: usize = 100_000;

/// The topics that went last, oldest first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct GoneTopics(VecDeque<TopicId>);

impl GoneTopics {
    /// Learns of what a record says.
    pub(super) fn apply(&mut self, record: &MetadataRecord) {
        if let MetadataRecord::TopicDeleted { id } = record {
            if self.0.len() == MAX_GONE_TOPICS {
                self.0.pop_front();
            }
            self.0.push_back(TopicId::new(*id));
        }
    }

    /// Records that tell of them.
    pub(super) fn to_records(&self) -> impl Iterator<Item = MetadataRecord> {
        self.0.iter().map(|id| MetadataRecord::TopicDeleted { id: id.get() })
    }

    /// All of them.
    pub(super) fn ids(&self) -> BTreeSet<TopicId> {
        self.0.iter().copied().collect()
    }
}
