//! Whole clusters in one thread: nodes, a controller, producers and readers under virtual time, with links and disks that
//! fail, everything drawn from a seed.
//!
//! A run has two phases. First there is trouble: nodes are killed, lose their power, stop, pause and start again, links are
//! cut, disks are slow; at every step the [checks](self) hold. Then everything is mended, and must settle: everybody in
//! sync, all logs the same, all producers answered, all readers at the end; what producers were told is compared with the
//! logs. The same seed gives the same run, to the byte of its trace.
//!
//! Of each seed there are two runs. In the [narrow](run) one the clients are the lab's own, plain and quick. In the
//! [wide](run_wide) one the machines of our client play beside them, in Kafka's protocol, with groups that commit; there are
//! three to five nodes; and the process restarts with its controller, or all power goes, replicas are moved, records are
//! deleted, and logs are damaged. In every third of them logs are compacted, those of groups too: each replica does so in its
//! own time, so what is compared is which records may be gone, and that the last of each key is not.
//!
//! ```
//! let report = highwater::lab::run(1).expect("a run without a fault of ours");
//! assert!(report.records > 0);
//! assert_eq!(highwater::lab::run(1).unwrap(), report);
//! ```

mod chance;
mod checks;
mod client;
mod committed;
mod compacting;
mod conditions;
mod connections;
mod faults;
mod links;
mod member;
mod names;
mod ours;
mod producer;
mod reader;
mod roles;
mod upheaval;
mod verdict;
mod wide;
mod world;

use crate::ids::{NodeId, PartitionIndex, TopicName};
use crate::node::{CreateTopicsRequest, NewTopic, Request};
use ours::{OurProducer, OurReader};
use producer::Producer;
use reader::Reader;
use roles::Role;
use world::{Happening, World};

/// When every run begins, by the wall clock: in milliseconds since 1970.
const BEGINNING_MS: i64 = 1_700_000_000_000;
/// How long all may take to settle.
const SETTLING_MICROS: u64 = 240_000_000;

/// What a run was like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How often a node was stepped.
    pub steps: u64,
    /// How many faults there were.
    pub faults: u64,
    /// How many records are in the logs in the end.
    pub records: u64,
    /// How many of those that a leader acknowledged alone are not.
    pub lost: u64,
    /// How many that were committed compaction took.
    pub compacted: u64,
    /// `highwater.durability`.
    pub durability: &'static str,
    /// How long it took, in the virtual time of the run.
    pub micros: u64,
}

/// What did not hold, and when.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}seed {seed}, at {micros} us: {what}", if *.is_wide { "wide " } else { "" })]
pub struct Failure {
    /// The run.
    pub seed: u64,
    /// Whether it was a wide one.
    pub is_wide: bool,
    /// The virtual time.
    pub micros: u64,
    /// What.
    pub what: String,
}

/// Does a run.
///
/// # Errors
/// Something did not hold that must.
pub fn run(seed: u64) -> Result<Report, Failure> {
    go(seed, false, false).0
}

/// Does a run in which more is played: our own producers, consumers and groups, and faults that only they notice. It is
/// another run than the narrow one of that seed.
///
/// # Errors
/// Something did not hold that must.
pub fn run_wide(seed: u64) -> Result<Report, Failure> {
    go(seed, true, false).0
}

/// Does a run, and tells everything that happened in it.
pub fn trace(seed: u64) -> (Result<Report, Failure>, String) {
    go(seed, false, true)
}

/// Does a wide run, and tells everything that happened in it.
pub fn trace_wide(seed: u64) -> (Result<Report, Failure>, String) {
    go(seed, true, true)
}

fn go(seed: u64, is_wide: bool, is_traced: bool) -> (Result<Report, Failure>, String) {
    let failed = |micros, what| Failure { seed, is_wide, micros, what };
    let mut world = match World::open(seed, is_wide, is_traced) {
        Ok(world) => world,
        Err(what) => return (Err(failed(0, what)), String::new()),
    };
    let outcome = world.live();
    let trace = world.trace.take().unwrap_or_default();
    (outcome.map_err(|what| failed(world.now, what)), trace)
}

impl World {
    fn live(&mut self) -> Result<Report, String> {
        self.make_topic();
        self.run_until(2_000_000);
        self.is_trouble = true;
        self.bring_clients();
        self.happens(self.now, Happening::Fault);
        self.happens(self.now, Happening::Looks);
        self.run_until(self.now + self.conditions.trouble_micros);
        self.end_trouble();
        let limit = self.now + SETTLING_MICROS;
        let (records, lost) = loop {
            let all: Vec<_> = self.members.keys().copied().collect();
            self.start_those(&all);
            self.run_until(self.now + 250_000);
            if let Some(what) = self.checks.complaint() {
                return Err(what.to_owned());
            }
            match self.unsettled() {
                None => break self.judge(),
                Some(what) if self.now >= limit => return Err(format!("stuck: {what}")),
                Some(_) => {}
            }
        };
        self.look_at_all();
        match self.checks.complaint() {
            Some(what) => Err(what.to_owned()),
            None => Ok(Report {
                steps: self.steps,
                faults: self.fault_count,
                records,
                lost,
                compacted: self.compacted(),
                durability: self.conditions.durability,
                micros: self.now,
            }),
        }
    }

    fn make_topic(&mut self) {
        let topic = NewTopic {
            name: TopicName::from(client::TOPIC),
            partitions: self.conditions.partitions,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        let request = CreateTopicsRequest { topics: vec![topic], validate_only: false };
        self.ask_for_nobody(NodeId(0), Request::CreateTopics(request));
    }

    fn bring_clients(&mut self) {
        let (nodes, partitions) = (self.conditions.nodes, self.conditions.partitions);
        let lanes = usize::try_from(partitions).unwrap_or(1);
        for (name, how) in self.conditions.producers.clone().into_iter().enumerate() {
            let producer = Producer::new(name, how, lanes, nodes);
            self.clients.push(Role::Produces(Box::new(producer)));
        }
        for number in 0..self.conditions.readers {
            let partition = PartitionIndex(i32::try_from(number).unwrap_or(0) % partitions);
            self.clients.push(Role::Reads(Reader::new(partition, nodes)));
        }
        self.bring_ours();
        for client in 0..self.clients.len() {
            self.happens(self.now, Happening::Wakes(client));
        }
    }
    fn bring_ours(&mut self) {
        let (nodes, partitions) = (self.conditions.nodes, self.conditions.partitions);
        let lanes = usize::try_from(partitions).unwrap_or(1);
        let wide = self.conditions.wide.clone();
        for (name, how) in (self.clients.len()..).zip(wide.producers) {
            let producer = OurProducer::new(name, how, lanes, nodes, self.chance.seed());
            self.clients.push(Role::ProducesOurs(Box::new(producer)));
        }
        for _ in 0..wide.readers {
            let reader = OurReader::new(partitions, nodes, self.chance.seed());
            self.clients.push(Role::ReadsOurs(Box::new(reader)));
        }
        for how in wide.groups {
            for _ in 0..how.members {
                let member = ours::Member::new(how.clone(), nodes, self.chance.seed());
                self.clients.push(Role::IsMember(Box::new(member)));
            }
        }
    }
}
