//! What a broker is rather than what it is told: Kafka has settings for it, and tools that show a cluster look for them.
//! Here they come from how the node was started, and nothing sets them.

use std::path::Path;

use super::definition::{Definition, Kind};
use super::{Effective, Source};

const fn fact(name: &'static str, kind: Kind, doc: &'static str) -> Definition {
    Definition { name, kind, default: "", broker_name: None, doc }
}

static BROKER_ID: Definition = fact("broker.id", Kind::Int { min: 0 }, "As node.id.");
static LOG_DIRS: Definition = fact("log.dirs", Kind::Words, "The folder of the broker's logs.");
static NODE_ID: Definition = fact("node.id", Kind::Int { min: 0 }, "The broker's number in its cluster.");

/// Whether a setting is one of these.
pub(crate) fn names(setting: &str) -> bool {
    [&BROKER_ID, &LOG_DIRS, &NODE_ID].iter().any(|definition| definition.name == setting)
}

/// They, as if the broker had been given them when it started.
pub(crate) fn describe(node: i32, folder: &Path) -> [Effective; 3] {
    let one = |definition: &'static Definition, value: String| Effective {
        name: definition.name,
        definition,
        value: value.clone(),
        source: Source::Broker,
        is_read_only: true,
        synonyms: vec![(definition.name, value, Source::Broker)],
    };
    [
        one(&BROKER_ID, node.to_string()),
        one(&LOG_DIRS, folder.display().to_string()),
        one(&NODE_ID, node.to_string()),
    ]
}
