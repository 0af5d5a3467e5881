//! ConsumerGroupDescribe: who is in a group, what each has and is to have.

use highwater_storage::TopicId;

use super::Consumer;
use super::member::Member;
use crate::cluster::metadata::ClusterMetadata;
use crate::group::consumer_words::{DescribedConsumer, DescribedConsumers, NamedPartitions, Partitions};
use crate::group::ids::MemberId;
use crate::group::turn::Limits;

impl Consumer {
    pub(in crate::group) fn describe(&self, topics: &ClusterMetadata, limits: &Limits) -> DescribedConsumers {
        let one = |(id, member): (&MemberId, &std::sync::Arc<Member>)| {
            let facts = &member.facts;
            let has = member.current.holds();
            let target = self.target.get(id).map(|target| named(target, topics));
            DescribedConsumer {
                member: id.clone(),
                instance: facts.instance.clone(),
                rack: facts.rack.clone(),
                epoch: member.current.epoch,
                client_id: facts.client_id.clone(),
                client_host: facts.client_host.clone(),
                names: facts.names.iter().cloned().collect(),
                regex: facts.regex.clone().unwrap_or_default(),
                assignment: named(&has, topics),
                target: target.unwrap_or_default(),
                is_classic: facts.classic.is_some(),
            }
        };
        DescribedConsumers {
            state: self.state(),
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            assignor: self.preferred_assignor(limits).name(),
            members: self.members.iter().map(one).collect(),
        }
    }
}

/// Partitions with their topics' names; those of topics that are gone have none.
fn named(partitions: &Partitions, topics: &ClusterMetadata) -> Vec<NamedPartitions> {
    let one = |(topic, partitions): (&TopicId, &std::collections::BTreeSet<_>)| {
        let name = topics.topic(*topic)?.name.clone();
        Some(NamedPartitions { id: *topic, name, partitions: partitions.iter().copied().collect() })
    };
    partitions.iter().filter_map(one).collect()
}
