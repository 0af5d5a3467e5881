//! What a client knows of the cluster, and when it asks again.
//!
//! [`ClusterImage`] is the knowledge; `Metadata` is the small machine that keeps it fresh for the topics its
//! owner wants: it asks at once for a topic it has not seen, again with back-off while something is amiss
//! (no leader, an error that says our knowledge is old), and otherwise at a maximum age. A leader epoch never
//! moves backwards within one topic id (KIP-320), and brokers' hints about new leaders are taken (KIP-951).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use highwater_protocol::messages::metadata::{
    MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use highwater_protocol::messages::{MetadataRequest, MetadataResponse};
use highwater_protocol::{ErrorCode, Text, Uuid};

use crate::exchange::{Action, Body, Failure, Peer, RequestId, RequestIds};
use crate::retry::{Backoff, Jitter};
use crate::time::Monotonic;
use crate::transport::embedded::Target;

/// A broker's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerAddress {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The brokers that an answer names beside a new leader (KIP-951): id, host and port of each.
pub(crate) fn endpoints<'a>(
    nodes: impl Iterator<Item = (i32, &'a Text, i32)>,
) -> BTreeMap<NodeId, BrokerAddress> {
    let address =
        |host: &Text, port| Some(BrokerAddress { host: host.to_string(), port: u16::try_from(port).ok()? });
    nodes.filter_map(|(id, host, port)| Some((NodeId(id), address(host, port)?))).collect()
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Text,
    /// The partition.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    #[must_use]
    pub fn new(topic: impl Into<Text>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", &*self.topic, self.partition)
    }
}

/// Who leads a partition, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionImage {
    /// The leader; `None` while there is none.
    pub leader: Option<NodeId>,
    /// The epoch of that leadership, -1 when unknown.
    pub leader_epoch: i32,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// Its id; all zeros when the broker told none.
    pub id: Uuid,
    /// Its partitions by number.
    pub partitions: Vec<PartitionImage>,
}

/// Brokers, topics and leaders, as last heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterImage {
    /// The brokers.
    pub brokers: BTreeMap<NodeId, BrokerAddress>,
    /// The topics asked about that exist.
    pub topics: BTreeMap<Text, TopicImage>,
}

impl ClusterImage {
    /// The partition's leader and epoch.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> Option<PartitionImage> {
        let index = usize::try_from(partition).ok()?;
        self.topics.get(topic)?.partitions.get(index).copied()
    }

    /// The partition's leader, when it is known where that listens.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        self.partition(topic, partition)?.leader.filter(|node| self.brokers.contains_key(node))
    }

    /// The name of the topic with this id.
    #[must_use]
    pub fn name_of(&self, id: Uuid) -> Option<&Text> {
        self.topics.iter().find(|(_, topic)| topic.id == id && !id.is_zero()).map(|(name, _)| name)
    }

    /// The topic's id, all zeros when unknown.
    #[must_use]
    pub fn topic_id(&self, topic: &str) -> Uuid {
        self.topics.get(topic).map_or(Uuid::ZERO, |topic| topic.id)
    }

    /// Takes in brokers and topics of a response; returns the topics it refused.
    pub(crate) fn update(&mut self, response: MetadataResponse) -> BTreeMap<Text, ErrorCode> {
        let mut refused = BTreeMap::new();
        self.brokers = response
            .brokers
            .into_iter()
            .filter_map(|broker| {
                let address =
                    BrokerAddress { host: broker.host.to_string(), port: u16::try_from(broker.port).ok()? };
                Some((NodeId(broker.node_id), address))
            })
            .collect();
        for topic in response.topics {
            let Some(name) = topic.name else { continue };
            // What is kept must not keep the whole response alive.
            let name = name.detached();
            let code = topic.error_code;
            if code.is_none() {
                let mut partitions = Vec::new();
                let mut listed = topic.partitions;
                listed.sort_by_key(|partition| partition.partition_index);
                for (at, partition) in listed.into_iter().enumerate() {
                    // Partitions are numbered without gaps; anything else is not a topic we can use.
                    if usize::try_from(partition.partition_index) != Ok(at) {
                        break;
                    }
                    partitions.push(PartitionImage {
                        leader: (partition.leader_id >= 0).then_some(NodeId(partition.leader_id)),
                        leader_epoch: partition.leader_epoch,
                    });
                }
                self.keep_newer_leaders(&name, topic.topic_id, &mut partitions);
                self.topics.insert(name, TopicImage { id: topic.topic_id, partitions });
            } else {
                if code == ErrorCode::UnknownTopicOrPartition {
                    self.topics.remove(&name);
                }
                refused.insert(name, code);
            }
        }
        refused
    }

    fn keep_newer_leaders(&self, name: &Text, id: Uuid, partitions: &mut [PartitionImage]) {
        let Some(known) = self.topics.get(name).filter(|known| known.id == id) else { return };
        for (new, old) in partitions.iter_mut().zip(&known.partitions) {
            if new.leader_epoch < old.leader_epoch {
                *new = *old;
            }
        }
    }
}

/// Of each partition of a topic the racks that its replicas are in, as far as brokers tell.
pub(crate) type TopicRacks = Vec<BTreeSet<Text>>;

/// The topics of which brokers tell the racks.
fn racks_in(response: &MetadataResponse) -> BTreeMap<Text, TopicRacks> {
    let known = |broker: &MetadataResponseBroker| {
        let rack = broker.rack.as_ref().filter(|rack| !rack.is_empty())?;
        Some((broker.node_id, rack.detached()))
    };
    let racks: BTreeMap<i32, Text> = response.brokers.iter().filter_map(known).collect();
    if racks.is_empty() {
        return BTreeMap::new();
    }
    let of_topic = |topic: &MetadataResponseTopic| {
        let mut partitions: Vec<_> = topic.partitions.iter().collect();
        partitions.sort_by_key(|partition| partition.partition_index);
        let of_one = |partition: &MetadataResponsePartition| {
            partition.replica_nodes.iter().filter_map(|node| racks.get(node).cloned()).collect()
        };
        let name = topic.name.as_ref().filter(|_| topic.error_code.is_none())?;
        Some((name.detached(), partitions.into_iter().map(of_one).collect()))
    };
    response.topics.iter().filter_map(of_topic).collect()
}

/// How metadata is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MetadataConfig {
    /// Age at which it is asked for again without a reason.
    pub(crate) max_age: Duration,
    /// Waits between questions while something is amiss; the first of them is also the least time between two.
    pub(crate) backoff: Backoff,
    /// How long an answer may take.
    pub(crate) request_timeout: Duration,
    /// Whether asking about a topic may create it.
    pub(crate) allow_auto_create: bool,
}

#[derive(Debug)]
struct Question {
    id: RequestId,
    deadline: Monotonic,
    /// Whether it asks for names of topics; a request asks either by name or by id.
    by_id: bool,
}

/// A wish to hear anew of what is wanted: the number of the first question that was asked after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refresh(u64);

/// Topics known by their ids alone, whose names are to be found out.
#[derive(Debug)]
struct Unnamed {
    ids: BTreeSet<Uuid>,
    failures: u32,
    not_before: Monotonic,
}

/// Keeps a [`ClusterImage`] fresh for a set of topics.
#[derive(Debug)]
pub(crate) struct Metadata {
    config: MetadataConfig,
    image: ClusterImage,
    /// By topic, if anybody asks.
    racks: Option<BTreeMap<Text, TopicRacks>>,
    wanted: BTreeSet<Text>,
    unnamed: Unnamed,
    refused: BTreeMap<Text, ErrorCode>,
    due: bool,
    question: Option<Question>,
    /// How many times the wanted topics were asked for, and how many of these questions are over.
    asked: u64,
    heard: u64,
    refreshed_at: Option<Monotonic>,
    not_before: Monotonic,
    unsettled: u32,
    unreachable: u32,
    last_failure: Option<Arc<str>>,
}

impl Metadata {
    /// Knows nothing yet, and asks at the first step.
    #[must_use]
    pub(crate) const fn new(config: MetadataConfig) -> Self {
        Self {
            config,
            image: ClusterImage { brokers: BTreeMap::new(), topics: BTreeMap::new() },
            racks: None,
            wanted: BTreeSet::new(),
            unnamed: Unnamed { ids: BTreeSet::new(), failures: 0, not_before: Monotonic::ORIGIN },
            refused: BTreeMap::new(),
            due: true,
            question: None,
            asked: 0,
            heard: 0,
            refreshed_at: None,
            not_before: Monotonic::ORIGIN,
            unsettled: 0,
            unreachable: 0,
            last_failure: None,
        }
    }

    /// What is known now.
    #[must_use]
    pub(crate) const fn image(&self) -> &ClusterImage {
        &self.image
    }

    /// Keeps the racks of replicas from now on.
    pub(crate) fn keep_racks(&mut self) {
        self.racks.get_or_insert_default();
    }

    /// The racks of a topic's replicas; nothing where they are not kept or not known.
    #[must_use]
    pub(crate) fn racks_of(&self, topic: &str) -> &[BTreeSet<Text>] {
        self.racks.as_ref().and_then(|racks| racks.get(topic)).map_or(&[], Vec::as_slice)
    }

    /// Takes in what a response says of the topics that it names.
    fn take_racks(&mut self, response: &MetadataResponse) {
        let Some(racks) = &mut self.racks else { return };
        // Of one that is there and cannot be told of now, what was told last stays, as in the image.
        let is_told = |code| matches!(code, ErrorCode::None | ErrorCode::UnknownTopicOrPartition);
        for topic in response.topics.iter().filter(|topic| is_told(topic.error_code)) {
            topic.name.iter().for_each(|name| drop(racks.remove(name)));
        }
        racks.extend(racks_in(response));
    }

    /// Why the brokers refused to tell about a topic, at the last time of asking.
    #[must_use]
    pub(crate) fn refusal(&self, topic: &str) -> Option<ErrorCode> {
        self.refused.get(topic).copied()
    }

    /// Why nobody answers, while nobody does.
    #[must_use]
    pub(crate) fn last_failure(&self) -> Option<Arc<str>> {
        self.last_failure.clone()
    }

    /// Begins to keep track of a topic; a new one is asked for without waiting.
    pub(crate) fn want(&mut self, topic: &Text) {
        if self.wanted.insert(topic.clone()) {
            self.due = true;
            if self.unreachable == 0 {
                self.not_before = Monotonic::ORIGIN;
            }
        }
    }

    /// Ceases to keep track of a topic.
    pub(crate) fn forget(&mut self, topic: &str) {
        self.wanted.remove(topic);
        self.image.topics.remove(topic);
        if let Some(racks) = &mut self.racks {
            racks.remove(topic);
        }
        self.refused.remove(topic);
    }

    /// Finds out about the topics with these ids, instead of those asked for before.
    pub(crate) fn name(&mut self, ids: BTreeSet<Uuid>) {
        if !ids.is_subset(&self.unnamed.ids) && self.unreachable == 0 {
            (self.unnamed.failures, self.unnamed.not_before) = (0, Monotonic::ORIGIN);
        }
        self.unnamed.ids = ids;
    }

    /// Whether somebody was asked about these already, and could not tell of all of them.
    pub(crate) fn was_asked_to_name(&self, ids: &BTreeSet<Uuid>) -> bool {
        ids.is_subset(&self.unnamed.ids) && self.unnamed.failures > 0
    }

    /// Says that what is known proved to be old. While an answer is awaited anyway it is not asked for another:
    /// if that answer is old too, the one who relies on it will find out.
    pub(crate) const fn suspect(&mut self) {
        self.due |= self.question.is_none();
    }

    /// Asks for all that is wanted once more, also while an answer is awaited that may be older than this wish.
    pub(crate) fn refresh(&mut self) -> Refresh {
        self.due = true;
        if self.unreachable == 0 && self.unsettled == 0 {
            self.not_before = Monotonic::ORIGIN;
        }
        Refresh(self.asked + 1)
    }

    /// Whether that question was answered, or nobody could be asked.
    pub(crate) const fn is_over(&self, refresh: Refresh) -> bool {
        self.heard >= refresh.0
    }

    /// Takes a broker's word about who leads now (KIP-951). Returns whether that was news.
    pub(crate) fn learn_leader(
        &mut self,
        topic: &str,
        partition: i32,
        leader: PartitionImage,
        endpoint: Option<(NodeId, BrokerAddress)>,
    ) -> bool {
        if let Some((node, address)) = endpoint {
            self.image.brokers.insert(node, address);
        }
        let known = usize::try_from(partition)
            .ok()
            .and_then(|index| self.image.topics.get_mut(topic)?.partitions.get_mut(index));
        match known {
            Some(known) if leader.leader.is_some() && leader.leader_epoch > known.leader_epoch => {
                *known = leader;
                true
            }
            _ => false,
        }
    }

    /// Where [`Peer::Seed`] leads at present: along the known brokers, and back to the bootstrap addresses when
    /// none of them answers (KIP-899).
    #[must_use]
    pub(crate) fn seed_target(&self) -> Target {
        let failures = usize::try_from(self.unreachable).unwrap_or(usize::MAX);
        match failures.checked_sub(1).and_then(|turn| self.image.brokers.values().nth(turn)) {
            Some(address) => Target::Broker(address.clone()),
            None => Target::Bootstrap { attempt: self.unreachable },
        }
    }

    /// Asks, when it is time to.
    pub(crate) fn step(
        &mut self,
        now: Monotonic,
        ids: &mut RequestIds,
        jitter: &mut Jitter,
        actions: &mut Vec<Action>,
    ) {
        if let Some(question) = &self.question {
            if now < question.deadline {
                return;
            }
            let id = question.id;
            actions.push(Action::Disconnect(Peer::Seed));
            let silent = format!("no answer within {:?}", self.config.request_timeout);
            self.answer(now, id, Err(Failure::Lost(silent.into())), jitter);
        }
        if self.refreshed_at.is_some_and(|at| now.since(at) >= self.config.max_age) {
            self.due = true;
        }
        let request = if self.due && self.not_before <= now {
            self.due = false;
            self.request()
        } else if !self.unnamed.ids.is_empty() && self.unnamed.not_before <= now {
            self.request_by_id()
        } else {
            return;
        };
        let id = ids.next();
        let by_id = request.topics.iter().flatten().any(|topic| topic.name.is_none());
        self.asked += u64::from(!by_id);
        self.question = Some(Question { id, deadline: now + self.config.request_timeout, by_id });
        let target = self.seed_target();
        actions.push(Action::Send { id, peer: Peer::Seed, target, body: Body::Metadata(request) });
    }

    fn request_by_id(&self) -> MetadataRequest {
        let about = |id: &Uuid| MetadataRequestTopic { topic_id: *id, name: None };
        MetadataRequest {
            topics: Some(self.unnamed.ids.iter().map(about).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        }
    }

    fn request(&self) -> MetadataRequest {
        let about = |name: &Text| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        MetadataRequest {
            topics: Some(self.wanted.iter().map(about).collect()),
            allow_auto_topic_creation: self.config.allow_auto_create,
            ..Default::default()
        }
    }

    /// Takes the answer to a question of its own; `false` when the request was not its own.
    pub(crate) fn answer(
        &mut self,
        now: Monotonic,
        id: RequestId,
        answer: Result<MetadataResponse, Failure>,
        jitter: &mut Jitter,
    ) -> bool {
        let Some(question) = self.question.take_if(|question| question.id == id) else { return false };
        if question.by_id {
            // What it tells of the brokers and of topics known by name is as good as any other answer's.
            self.unnamed.failures = self.unnamed.failures.saturating_add(1);
            self.unnamed.not_before = now + self.config.backoff.wait(self.unnamed.failures, jitter);
        } else {
            self.heard = self.asked;
        }
        if let Ok(response) = &answer {
            self.take_racks(response);
        }
        match answer {
            Ok(response) if question.by_id => {
                self.image.update(response);
                self.unnamed.ids.retain(|id| self.image.name_of(*id).is_none());
                return true;
            }
            Ok(response) => {
                self.refused = self.image.update(response);
                self.refreshed_at = Some(now);
                self.unreachable = 0;
                self.last_failure = None;
                if self.is_settled() {
                    self.unsettled = 0;
                } else {
                    self.unsettled = self.unsettled.saturating_add(1);
                    self.due = true;
                }
                self.not_before = now + self.config.backoff.wait(self.unsettled.max(1), jitter);
            }
            Err(failure) => {
                self.unreachable = self.unreachable.saturating_add(1);
                self.last_failure = Some(failure.reason());
                self.due = true;
                self.not_before = now + self.config.backoff.wait(self.unreachable, jitter);
            }
        }
        // A topic wanted while the question was under way was not part of it.
        if self
            .wanted
            .iter()
            .any(|topic| !self.image.topics.contains_key(topic) && !self.refused.contains_key(topic))
        {
            self.due = true;
            if self.unreachable == 0 {
                self.not_before = now;
            }
        }
        true
    }

    /// Whether every wanted topic is known with a leader for each partition, or refused for good.
    fn is_settled(&self) -> bool {
        !self.image.brokers.is_empty()
            && self.wanted.iter().all(|topic| match self.image.topics.get(topic) {
                Some(image) => image.partitions.iter().all(|partition| partition.leader.is_some()),
                None => self.refused.get(topic).is_some_and(|code| !code.is_retriable()),
            })
    }

    /// When the next step is due.
    #[must_use]
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        match &self.question {
            Some(question) => Some(question.deadline),
            None => {
                let refresh = if self.due {
                    Some(self.not_before)
                } else {
                    self.refreshed_at.map(|at| at + self.config.max_age)
                };
                let name = (!self.unnamed.ids.is_empty()).then_some(self.unnamed.not_before);
                refresh.map_or(name, |refresh| Some(name.map_or(refresh, |name| name.min(refresh))))
            }
        }
    }
}
