//! Which partitions are meant: `TOPIC` or `TOPIC:0,2`.

use std::collections::BTreeSet;

use anyhow::bail;
use highwater::client::{Client, TopicPartition};

use crate::bootstrap::describe_topic;

/// A topic, and which of its partitions; all of them if none is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    topic: String,
    partitions: Vec<i32>,
}

impl Scope {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "a topic, or a topic and its partitions as orders:0,2".to_owned();
        let (topic, numbers) = match text.split_once(':') {
            Some((topic, numbers)) => (topic, Some(numbers)),
            None => (text, None),
        };
        let number = |text: &str| text.parse().ok().filter(|number| *number >= 0).ok_or_else(wrong);
        let partitions =
            numbers.map_or_else(|| Ok(Vec::new()), |text| text.split(',').map(number).collect())?;
        if topic.is_empty() { Err(wrong()) } else { Ok(Self { topic: topic.to_owned(), partitions }) }
    }

    /// The partitions, which must be there.
    pub(super) async fn partitions(
        client: &Client,
        scopes: &[Self],
    ) -> anyhow::Result<BTreeSet<TopicPartition>> {
        let mut all = BTreeSet::new();
        for Self { topic, partitions } in scopes {
            let there: BTreeSet<i32> =
                describe_topic(client, topic).await?.partitions.iter().map(|one| one.partition).collect();
            if let Some(missing) = partitions.iter().find(|number| !there.contains(number)) {
                let last = there.last().copied().unwrap_or(-1);
                bail!("topic {topic} has partitions 0 to {last}, not {missing}");
            }
            let wanted = there.iter().filter(|number| partitions.is_empty() || partitions.contains(number));
            all.extend(wanted.map(|number| TopicPartition::new(topic.as_str(), *number)));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_topic_or_some_of_its_partitions() {
        let scope = |topic: &str, partitions: &[i32]| {
            Ok(Scope { topic: topic.to_owned(), partitions: partitions.to_vec() })
        };
        assert_eq!(Scope::parse("orders"), scope("orders", &[]));
        assert_eq!(Scope::parse("orders:0,2"), scope("orders", &[0, 2]));
        for wrong in ["", ":1", "orders:", "orders:-1", "orders:x", "orders:1,"] {
            assert!(Scope::parse(wrong).is_err(), "{wrong}");
        }
    }
}
