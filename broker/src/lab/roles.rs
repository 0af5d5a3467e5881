//! Those who use the cluster: how each is told what comes, and what becomes of what it does.

use highwater_storage::TopicId;

use super::client::{Act, Client, Desk, TOPIC};
use super::ours::{self, OurProducer, OurReader};
use super::producer::Producer;
use super::reader::Reader;
use super::world::{Happening, World};
use crate::ids::PartitionIndex;

/// Those who use the cluster.
#[derive(Debug)]
pub(super) enum Role {
    Produces(Box<Producer>),
    Reads(Reader),
    ProducesOurs(Box<OurProducer>),
    ReadsOurs(Box<OurReader>),
    IsMember(Box<ours::Member>),
}

impl Role {
    fn client(&mut self) -> &mut dyn Client {
        match self {
            Self::Produces(producer) => producer.as_mut(),
            Self::Reads(reader) => reader,
            Self::ProducesOurs(producer) => producer.as_mut(),
            Self::ReadsOurs(reader) => reader.as_mut(),
            Self::IsMember(member) => member.as_mut(),
        }
    }
}

impl World {
    pub(super) fn with_client(&mut self, number: usize, act: impl FnOnce(&mut dyn Client, &mut Desk<'_>)) {
        let mut clients = std::mem::take(&mut self.clients);
        let mut desk = Desk {
            now: self.now,
            chance: &mut self.chance,
            is_trouble: self.is_trouble,
            starts: self.checks.starts(),
            acts: Vec::new(),
        };
        if let Some(role) = clients.get_mut(number) {
            act(role.client(), &mut desk);
        }
        let acts = desk.acts;
        self.clients = clients;
        acts.into_iter().for_each(|what| self.act(number, what));
    }

    fn act(&mut self, client: usize, what: Act) {
        match what {
            Act::Send(to, number, question) => self.ask(client, to, number, question),
            Act::HangUp(to) => self.hang_up(client, to),
            Act::Wake(at) => {
                let at = at.max(self.now);
                if self.wakes.insert((at, client)) {
                    self.happens(at, Happening::Wakes(client));
                }
            }
            Act::Saw(partition, at, batches) => {
                if let Some(partition) = self.of_topic(partition) {
                    self.checks.saw(partition, at, &batches);
                }
            }
            Act::OutOfRange(partition, at) => {
                if at >= self.checks.start_of(partition) {
                    self.checks.complain(format!("a reader of {partition} at {at} is out of range"));
                }
            }
            Act::Got { partition, expected, at, name } => {
                if let Some(partition) = self.of_topic(partition) {
                    self.checks.got(partition, expected, at, &name);
                }
            }
            Act::Delivered { group, partition, at, resumes } => {
                if let Some(partition) = self.of_topic(partition) {
                    self.checks.delivered(group, partition, at, resumes);
                }
            }
            Act::Committed { group, partition, upto } => {
                self.checks.group_committed((group, partition), upto)
            }
            Act::Complain(what) => self.checks.complain(what),
        }
    }

    /// A partition of the topic that everybody uses.
    pub(super) fn of_topic(&self, partition: PartitionIndex) -> Option<(TopicId, PartitionIndex)> {
        Some((self.controller().known().id_of(&TOPIC.into())?, partition))
    }
}
