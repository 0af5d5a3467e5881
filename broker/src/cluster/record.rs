//! The records of the cluster's own log. A record's value is one byte of version and a postcard body.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::partition::{PartitionChange, PartitionState};

/// The version written; an unknown one is an error, never a guess.
const VERSION: u8 = 1;

/// One thing the cluster agreed on. New ones come last: what is written names them by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MetadataRecord {
    /// The first record of all.
    ClusterBegun {
        /// The cluster's id, as Kafka prints ids.
        id: String,
    },
    /// A node began to serve: it leads its partitions in a new epoch from here on.
    NodeStarted {
        /// Which.
        node: i32,
    },
    /// A topic was made.
    TopicCreated {
        /// Its id.
        id: [u8; 16],
        /// Its name.
        name: String,
        /// What was set on it.
        configs: BTreeMap<String, String>,
        /// The replicas of each partition, preferred leader first.
        replicas: Vec<Vec<i32>>,
    },
    /// A topic is gone.
    TopicDeleted {
        /// Its id.
        id: [u8; 16],
    },
    /// Producer ids below `next` may have been given out.
    ProducerIdsReserved {
        /// The first id that is still free.
        next: i64,
    },
    /// A topic has more partitions, behind those that it had.
    PartitionsAdded {
        /// The topic's id.
        id: [u8; 16],
        /// The replicas of each new partition, preferred leader first.
        replicas: Vec<Vec<i32>>,
    },
    /// A topic's settings changed.
    TopicConfigured {
        /// Its id.
        id: [u8; 16],
        /// What each of them is now; none for what falls back.
        changes: BTreeMap<String, Option<String>>,
    },
    /// Settings of nodes changed.
    NodesConfigured {
        /// Of which node; none for all.
        node: Option<i32>,
        /// What each of them is now; none for what falls back.
        changes: BTreeMap<String, Option<String>>,
    },
    /// A node serves otherwise than before.
    NodeChanged {
        /// Which.
        node: i32,
        /// How it serves now.
        state: NodeState,
    },
    /// Partitions of a topic changed.
    PartitionsChanged {
        /// The topic's id.
        id: [u8; 16],
        /// Each change; a partition is named once.
        changes: Vec<PartitionChange>,
    },
    /// A node as it is. In snapshots only.
    NodeIs {
        /// Which.
        node: i32,
        /// Its present life, or its last.
        broker_epoch: i64,
        /// How it serves in it.
        state: NodeState,
    },
    /// A topic as it is. In snapshots only.
    TopicIs {
        /// Its id.
        id: [u8; 16],
        /// Its name.
        name: String,
        /// What was set on it.
        configs: BTreeMap<String, String>,
        /// Its partitions, all of them.
        partitions: Vec<PartitionState>,
    },
}

/// How a node serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NodeState {
    /// It may lead and be in sync.
    Serving,
    /// It is about to stop: it leads nothing any more if another one can, and is in sync with nothing.
    Leaving,
    /// Nobody hears from it.
    Fenced,
}

/// A record that is not one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// No bytes, or no value.
    #[error("an empty record in the cluster's log")]
    Empty,
    /// Written by a newer program.
    #[error("a record of version {found} in the cluster's log; this program knows version {VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Not what the version says.
    #[error("a damaged record in the cluster's log: {0}")]
    Body(String),
}

impl MetadataRecord {
    /// The value of the record.
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("writing to memory does not fail")
    }

    /// Reads a record's value.
    pub(crate) fn decode(value: &[u8]) -> Result<Self, RecordError> {
        match value.split_first() {
            None => Err(RecordError::Empty),
            Some((&VERSION, body)) => {
                postcard::from_bytes(body).map_err(|error| RecordError::Body(error.to_string()))
            }
            Some((&found, _)) => Err(RecordError::Version { found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What programs before this one wrote.
    #[test]
    fn the_numbers_of_records_stay() {
        let number = |record: &MetadataRecord| record.encode()[1];
        assert_eq!(number(&MetadataRecord::NodeStarted { node: 0 }), 1);
        assert_eq!(number(&MetadataRecord::NodesConfigured { node: None, changes: BTreeMap::new() }), 7);
        assert_eq!(number(&MetadataRecord::NodeChanged { node: 0, state: NodeState::Fenced }), 8);
        assert_eq!(number(&MetadataRecord::PartitionsChanged { id: [0; 16], changes: Vec::new() }), 9);
        let node = MetadataRecord::NodeIs { node: 0, broker_epoch: 1, state: NodeState::Serving };
        assert_eq!(number(&node), 10);
        let (name, configs) = (String::new(), BTreeMap::new());
        let topic = MetadataRecord::TopicIs { id: [0; 16], name, configs, partitions: Vec::new() };
        assert_eq!(number(&topic), 11);
        let started = MetadataRecord::decode(&[1, 1, 2]);
        assert_eq!(started, Ok(MetadataRecord::NodeStarted { node: 1 }));
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let record = MetadataRecord::TopicCreated {
            id: [7; 16],
            name: "orders".into(),
            configs: BTreeMap::from([("segment.bytes".into(), "1048576".into())]),
            replicas: vec![vec![0], vec![0]],
        };
        let bytes = record.encode();
        assert_eq!(MetadataRecord::decode(&bytes), Ok(record));
        assert_eq!(MetadataRecord::decode(&[]), Err(RecordError::Empty));
        assert_eq!(MetadataRecord::decode(&[9, 0]), Err(RecordError::Version { found: 9 }));
        for cut in 1..bytes.len() {
            assert!(matches!(MetadataRecord::decode(&bytes[..cut]), Err(RecordError::Body(_))), "{cut}");
        }
    }
}
