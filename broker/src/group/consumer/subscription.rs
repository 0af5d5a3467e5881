//! What members want to read: topics by name, and by regular expressions that the coordinator finds the topics of.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_storage::{TimestampMs, TopicId};
use regex_lite::{Regex, RegexBuilder};

use super::Consumer;
use super::member::Facts;
use crate::cluster::metadata::ClusterMetadata;
use crate::ids::TopicName;
use crate::refusal::Refusal;

/// How large a regular expression may become when it is compiled.
const COMPILED_LIMIT_BYTES: usize = 32 * 1024;

/// The topics a regular expression stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) topics: BTreeSet<TopicName>,
    /// Kafka's number for the state of the cluster's metadata.
    pub(crate) version: i64,
    pub(crate) since: TimestampMs,
}

impl Consumer {
    /// Looks at the cluster's topics anew if they changed, and at regular expressions that came and went. Whether that
    /// changes what anybody reads.
    pub(super) fn resolve_regexes(
        &mut self,
        topics: &ClusterMetadata,
        now: TimestampMs,
    ) -> Result<bool, Refusal> {
        let wanted: BTreeSet<_> = self.wanted_regexes().into_keys().cloned().collect();
        let before = self.regexes.len();
        self.regexes.retain(|regex, _| wanted.contains(regex));
        let mut has_changed = self.regexes.len() != before;
        let is_stale = self.seen_topics != Some(topics.topics_version());
        for regex in wanted {
            let known = self.regexes.get(&regex);
            if known.is_some() && !is_stale {
                continue;
            }
            let found = match (matching(&regex, topics), known) {
                (Ok(found), _) => found,
                // Another broker understood it: what it found stands.
                (Err(_), Some(_)) => continue,
                (Err(refusal), None) => return Err(refusal),
            };
            if known.is_none_or(|known| known.topics != found) {
                let version = i64::try_from(topics.topics_version()).unwrap_or(i64::MAX);
                self.regexes.insert(regex, Arc::new(Resolved { topics: found, version, since: now }));
                has_changed = true;
            }
        }
        Ok(has_changed)
    }

    /// The topics that a member wants to read, and that are there.
    pub(super) fn wanted_by(&self, facts: &Facts, topics: &ClusterMetadata) -> BTreeSet<TopicId> {
        let by_regex = facts.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        let names = facts.names.iter().chain(by_regex.into_iter().flat_map(|resolved| &resolved.topics));
        names.filter_map(|name| topics.id_of(name)).collect()
    }

    /// Whether any member wants to read a topic.
    pub(in crate::group) fn is_subscribed(&self, topic: &TopicName) -> bool {
        self.index.names.contains_key(topic)
            || self.regexes.values().any(|resolved| resolved.topics.contains(topic))
    }

    /// Whether topics that are read are others than when the epoch began.
    pub(super) fn sees_other_topics(&self, topics: &ClusterMetadata) -> bool {
        self.seen_topics != Some(topics.topics_version()) && self.hash_of_topics(topics) != self.topics_hash
    }

    /// A number that changes when a topic that is read comes, goes, or has another number of partitions.
    pub(super) fn hash_of_topics(&self, topics: &ClusterMetadata) -> i64 {
        let names: BTreeSet<_> = self
            .names()
            .into_keys()
            .chain(self.regexes.values().flat_map(|resolved| &resolved.topics))
            .collect();
        let mut hash = Fnv::default();
        for name in names {
            let Some(id) = topics.id_of(name) else { continue };
            let partitions = topics.topic(id).map_or(0, |topic| topic.partitions.len());
            hash.add(&id.get());
            hash.add(&(partitions as u64).to_be_bytes());
        }
        hash.value()
    }
}

/// The topics whose whole name a regular expression matches.
fn matching(regex: &str, topics: &ClusterMetadata) -> Result<BTreeSet<TopicName>, Refusal> {
    let regex = compile(regex)?;
    let names = topics.by_name().map(|(_, topic)| &topic.name);
    Ok(names.filter(|name| regex.is_match(name.as_str())).cloned().collect())
}

fn compile(regex: &str) -> Result<Regex, Refusal> {
    let refuse = |why: regex_lite::Error| Refusal::InvalidRegularExpression {
        message: format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {why}."),
    };
    // Alone first: an unbalanced parenthesis must not close the one around it.
    let build = |regex: &str| RegexBuilder::new(regex).size_limit(COMPILED_LIMIT_BYTES).build();
    build(regex).map_err(refuse)?;
    build(&format!("^(?:{regex})$")).map_err(refuse)
}

/// FNV-1a of 64 bits; 0 for nothing.
#[derive(Default)]
struct Fnv(Option<u64>);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self.0 = Some(bytes.iter().fold(self.0.unwrap_or(0xcbf2_9ce4_8422_2325), step));
    }

    fn value(&self) -> i64 {
        self.0.unwrap_or(0).cast_signed()
    }
}
