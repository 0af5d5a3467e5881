//! A coordinator, two partitions and two producers that take each other's place, with all that is between them: requests that
//! are lost, come late or twice, time that passes, coordinators that are replaced.
//!
//! When everything has come to rest nothing is open, and of every transaction all is seen or nothing: all where its
//! producer was told that it is committed, nothing where it was told that it is aborted.

use std::path::Path;
use std::sync::Arc;

use highwater_storage::batch::{BatchBuilder, CheckedBatch};
use highwater_storage::disk::MemoryDisk;
use highwater_storage::{Log, LogConfig, Sequence};
use proptest::prelude::*;

use super::*;
use crate::producer::admission::{Admission, Origin, admit};
use crate::producer::marker;
use crate::producer::sequence::Verdict;
use crate::producer::verification::{Guard, Guards, Verifications};

const PARTITIONS: usize = 2;

/// One thing that happens. Numbers choose among what is on its way.
#[derive(Debug, Clone)]
enum Step {
    /// A producer begins, if it is none yet; or one that is there begins anew.
    Init {
        who: usize,
        anyway: bool,
    },
    Send(usize, usize),
    End {
        who: usize,
        commit: bool,
    },
    /// A question comes to the coordinator, or is lost.
    Ask(usize, bool),
    /// Its answer comes to the partition.
    Answer(usize),
    /// A marker comes to its partition, and may come again.
    Mark(usize, bool),
    /// What became of it comes to the coordinator, or is lost.
    Marked(usize, bool),
    /// Everything on its way goes one way further.
    Deliver,
    Wait(i32),
    Hold,
    Release,
    FailOver {
        loses: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // One is there most of the time.
    let who = prop::bool::weighted(0.15).prop_map(usize::from);
    let which = 0..6_usize;
    let step = prop_oneof![
        4 => (who.clone(), prop::bool::weighted(0.1)).prop_map(|(who, anyway)| Step::Init { who, anyway }),
        10 => (who.clone(), 0..PARTITIONS).prop_map(|(who, at)| Step::Send(who, at)),
        10 => (who, prop::bool::weighted(0.8)).prop_map(|(who, commit)| Step::End { who, commit }),
        8 => (which.clone(), prop::bool::weighted(0.1)).prop_map(|(which, lost)| Step::Ask(which, lost)),
        8 => which.clone().prop_map(Step::Answer),
        8 => (which.clone(), prop::bool::weighted(0.2)).prop_map(|(which, again)| Step::Mark(which, again)),
        8 => (which, prop::bool::weighted(0.1)).prop_map(|(which, lost)| Step::Marked(which, lost)),
        5 => Just(Step::Deliver),
        1 => (1..40_000).prop_map(Step::Wait),
        1 => Just(Step::Hold),
        3 => Just(Step::Release),
        1 => any::<bool>().prop_map(|loses| Step::FailOver { loses }),
    ];
    let steps = prop::collection::vec(step, 1..200);
    // Somebody begins.
    steps.prop_map(|steps| [vec![Step::Init { who: 0, anyway: false }], steps].concat())
}

/// A batch: one record, told from every other.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sent {
    who: usize,
    producer: Producer,
    sequence: i32,
    partition: usize,
    transaction: usize,
    value: u32,
}

/// What a producer knows of one of its transactions.
#[derive(Debug, Default)]
struct Known {
    sent: usize,
    acked: Vec<u32>,
    told: Option<End>,
}

/// A producer: one of two with the same transactional id.
#[derive(Debug, Default)]
struct Client {
    producer: Option<Producer>,
    initializing: Option<Asker>,
    sequences: [i32; PARTITIONS],
    transaction: Option<usize>,
    /// The end it has asked for, and the question on its way, if it is.
    ending: Option<(End, Option<Asker>)>,
    must_abort: bool,
}

struct Partition {
    log: Log,
    asked: Verifications,
    guards: Guards,
    /// What is in the log, in order.
    written: Vec<Written>,
}

#[derive(Debug, Clone, Copy)]
enum Written {
    Data(usize, u32),
    Marker(End),
}

struct Whole {
    bench: Bench,
    clients: [Client; 2],
    transactions: Vec<Known>,
    partitions: Vec<Partition>,
    values: u32,
    questions: Vec<(Sent, Guard)>,
    asking: BTreeMap<Asker, (Sent, Guard)>,
    answers: Vec<(Sent, Guard)>,
    markers: Vec<(MarkersToWrite, usize)>,
    outcomes: Vec<MarkerWritten>,
}

fn pick(len: usize, which: usize) -> Option<usize> {
    (len > 0).then(|| which % len)
}

impl Whole {
    fn new() -> Self {
        let partition = |at: usize| {
            let name = format!("orders-{at}");
            let disk = Arc::new(MemoryDisk::new());
            Partition {
                log: Log::create(disk, Path::new(&name), LogConfig::default(), None, BEGIN),
                asked: Verifications::default(),
                guards: Guards::default(),
                written: Vec::new(),
            }
        };
        Self {
            bench: Bench::new(),
            clients: Default::default(),
            transactions: Vec::new(),
            partitions: (0..PARTITIONS).map(partition).collect(),
            values: 0,
            questions: Vec::new(),
            asking: BTreeMap::new(),
            answers: Vec::new(),
            markers: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Init { who, anyway } => self.init(who, anyway),
            Step::Send(who, at) => self.send(who, at),
            Step::End { who, commit } => self.end(who, if commit { End::Commit } else { End::Abort }),
            Step::Ask(which, lost) => {
                if let Some(which) = pick(self.questions.len(), which) {
                    let (sent, guard) = self.questions.remove(which);
                    if lost { self.fail(sent) } else { self.ask(sent, guard) }
                }
            }
            Step::Answer(which) => {
                if let Some(which) = pick(self.answers.len(), which) {
                    let (sent, guard) = self.answers.remove(which);
                    self.append(sent, Some(guard));
                }
            }
            Step::Mark(which, again) => {
                if let Some(which) = pick(self.markers.len(), which) {
                    self.mark(which, again);
                }
            }
            Step::Marked(which, lost) => {
                if let Some(which) = pick(self.outcomes.len(), which) {
                    let outcome = self.outcomes.remove(which);
                    if !lost {
                        self.bench.turn(|coordinator, turn| coordinator.marked(turn, &outcome));
                    }
                }
            }
            Step::Deliver => self.deliver(),
            Step::Wait(ms) => self.bench.wait_ms(ms),
            Step::Hold => {
                if self.bench.held_at.is_none() {
                    self.bench.hold();
                }
            }
            Step::Release => self.bench.release(),
            Step::FailOver { loses } => self.fail_over(loses),
        }
        self.hear();
    }

    fn init(&mut self, who: usize, anyway: bool) {
        let client = &self.clients[who];
        if client.initializing.is_none() && (anyway || client.producer.is_none()) {
            let asker = self.bench.ask_to_init(&init(None));
            self.clients[who] = Client { initializing: Some(asker), ..Client::default() };
        }
    }

    fn send(&mut self, who: usize, at: usize) {
        let client = &mut self.clients[who];
        let Some(producer) = client.producer.filter(|_| client.ending.is_none() && !client.must_abort) else {
            return;
        };
        let transactions = &mut self.transactions;
        let transaction = *client.transaction.get_or_insert_with(|| {
            transactions.push(Known::default());
            transactions.len() - 1
        });
        transactions[transaction].sent += 1;
        self.values += 1;
        let sequence = client.sequences[at];
        client.sequences[at] += 1;
        let sent = Sent { who, producer, sequence, partition: at, transaction, value: self.values };
        let partition = &mut self.partitions[at];
        let batch = batch(sent);
        let known = partition.log.producers().get(producer.0);
        match partition.asked.begin(known, batch.header().into(), true, BEGIN, &mut partition.guards) {
            Ok(Some(guard)) => self.questions.push((sent, guard)),
            Ok(None) => self.append(sent, None),
            Err(_) => self.fail(sent),
        }
    }

    /// A batch is lost for good: its transaction cannot be committed.
    fn fail(&mut self, sent: Sent) {
        let client = &mut self.clients[sent.who];
        client.must_abort |= client.transaction == Some(sent.transaction);
    }

    fn ask(&mut self, sent: Sent, guard: Guard) {
        let asker = Asker::Node(NodeId(1), u64::from(sent.value) << 32 | self.bench.asked);
        self.bench.asked += 1;
        let mut request = add(sent.producer, &[], V2);
        request.partitions.insert(super::at(i32::try_from(sent.partition).unwrap()));
        self.asking.insert(asker, (sent, guard));
        self.bench.turn(|coordinator, turn| coordinator.add_partitions(turn, asker, request));
    }

    fn append(&mut self, sent: Sent, guard: Option<Guard>) {
        let partition = &mut self.partitions[sent.partition];
        let batch = batch(sent);
        let id = sent.producer.0;
        let (known, asked) = (partition.log.producers().get(id), partition.asked.get(id));
        let by = Admission { origin: Origin::Client, known, asked, guard, verifies: true };
        if admit(batch.header(), by) == Ok(Verdict::Append) {
            let appended = partition.log.append(&batch, LeaderEpoch::new(0), BEGIN).unwrap();
            partition.asked.written(&appended.header);
            partition.written.push(Written::Data(sent.transaction, sent.value));
            self.transactions[sent.transaction].acked.push(sent.value);
        } else {
            self.fail(sent);
        }
    }

    fn end(&mut self, who: usize, end: End) {
        let client = &self.clients[who];
        let (Some(producer), Some(transaction)) = (client.producer, client.transaction) else { return };
        let known = &self.transactions[transaction];
        let end = match client.ending {
            Some((_, Some(_))) => return,
            // It asks again for what it asked for.
            Some((end, None)) => end,
            None if end == End::Commit && (client.must_abort || known.acked.len() < known.sent) => return,
            None => end,
        };
        let asker = self.bench.ask_to_end(&end_of(producer, end, V2));
        self.clients[who].ending = Some((end, Some(asker)));
    }

    fn mark(&mut self, which: usize, again: bool) {
        let (sent, at) = self.markers[which].clone();
        if !again {
            self.markers.remove(which);
        }
        let partition = &mut self.partitions[at];
        let known = partition.log.producers().get(sent.marker.producer.0);
        let outcome = marker::check(known, &sent.marker);
        if outcome.is_ok() {
            let batch = marker::batch(&sent.marker, BEGIN);
            let appended = partition.log.append(&batch, LeaderEpoch::new(0), BEGIN).unwrap();
            partition.asked.written(&appended.header);
            partition.written.push(Written::Marker(sent.marker.end));
        }
        self.outcomes.push(MarkerWritten {
            id: sent.id,
            attempt: sent.attempt,
            coordinator_epoch: sent.marker.coordinator_epoch,
            partition: super::at(i32::try_from(at).unwrap()),
            outcome,
        });
    }

    fn fail_over(&mut self, loses: bool) {
        if loses {
            let committed = usize::try_from(self.bench.high_watermark().get()).unwrap();
            self.bench.world.records.truncate(committed);
        }
        self.bench.fail_over();
        // Who waited for an answer asks again, or gives up.
        for client in &mut self.clients {
            client.initializing = None;
            if let Some((_, asker)) = &mut client.ending {
                *asker = None;
            }
        }
        self.questions.extend(std::mem::take(&mut self.asking).into_values());
    }

    /// What was told, and what is to be written.
    fn hear(&mut self) {
        for (_, sent) in std::mem::take(&mut self.bench.markers) {
            let places = sent.partitions.iter().map(|at| at.partition.slot().unwrap());
            self.markers.extend(places.map(|at| (sent.clone(), at)).collect::<Vec<_>>());
        }
        for (asker, reply) in std::mem::take(&mut self.bench.answers) {
            match reply {
                TransactionReply::Added(outcome) => {
                    let Some((sent, guard)) = self.asking.remove(&asker) else { continue };
                    match outcome {
                        Ok(()) => self.answers.push((sent, guard)),
                        Err(Refusal::ConcurrentTransactions) => self.questions.push((sent, guard)),
                        Err(_) => self.fail(sent),
                    }
                }
                TransactionReply::Producer(outcome) => {
                    let is_for = |client: &&mut Client| client.initializing == Some(asker);
                    if let Some(client) = self.clients.iter_mut().find(is_for) {
                        *client = Client { producer: outcome.ok(), ..Client::default() };
                    }
                }
                TransactionReply::Ended(outcome) => self.ended(asker, outcome),
            }
        }
    }

    fn ended(&mut self, asker: Asker, outcome: Result<Option<Producer>, Refusal>) {
        let is_for = |client: &&mut Client| matches!(client.ending, Some((_, Some(by))) if by == asker);
        let Some(client) = self.clients.iter_mut().find(is_for) else { return };
        let (Some((end, _)), Some(transaction)) = (client.ending, client.transaction) else { return };
        match outcome {
            Ok(producer) => {
                self.transactions[transaction].told = Some(end);
                *client = Client { producer, ..Client::default() };
            }
            Err(Refusal::ConcurrentTransactions | Refusal::CoordinatorNotAvailable) => {
                client.ending = Some((end, None));
            }
            // Another took its place, or the coordinator aborted: it does not know what became of it.
            Err(_) => *client = Client::default(),
        }
    }

    fn deliver(&mut self) {
        for (step, on_the_way) in [
            (Step::Ask(0, false), self.questions.len()),
            (Step::Answer(0), self.answers.len()),
            (Step::Mark(0, false), self.markers.len()),
            (Step::Marked(0, false), self.outcomes.len()),
        ] {
            for _ in 0..on_the_way {
                self.take(&step);
            }
        }
    }

    /// Everything is written, comes, and time passes.
    fn settle(&mut self) {
        self.take(&Step::Release);
        for _ in 0..6 {
            for _ in 0..4 {
                self.deliver();
            }
            self.take(&Step::Wait(TIMEOUT_MS));
        }
    }

    fn check(&mut self) {
        let at_rest = self.bench.current().is_none_or(|current| current.state.is_at_rest());
        assert!(at_rest, "{:?}", self.bench.current());
        let mut seen = BTreeMap::<usize, BTreeSet<u32>>::new();
        for partition in &mut self.partitions {
            let end = partition.log.end_offset();
            assert_eq!(partition.log.first_unstable_offset(end), None, "open for ever");
            let mut open = Vec::new();
            for written in &partition.written {
                match written {
                    Written::Data(transaction, value) => open.push((*transaction, *value)),
                    Written::Marker(End::Abort) => open.clear(),
                    Written::Marker(End::Commit) => {
                        for (transaction, value) in open.drain(..) {
                            assert!(seen.entry(transaction).or_default().insert(value), "twice");
                        }
                    }
                }
            }
        }
        for (transaction, known) in self.transactions.iter().enumerate() {
            let seen = seen.remove(&transaction).unwrap_or_default();
            let all = BTreeSet::from_iter(known.acked.iter().copied());
            match known.told {
                Some(End::Commit) => assert_eq!(seen, all, "{transaction} was committed"),
                Some(End::Abort) => assert!(seen.is_empty(), "{transaction} was aborted: {seen:?}"),
                None => assert!(seen.is_empty() || seen == all, "{transaction} is torn: {seen:?} of {all:?}"),
            }
        }
    }
}

fn batch(sent: Sent) -> CheckedBatch {
    let mut builder = BatchBuilder::new().transactional(true);
    builder.set_producer(sent.producer.0, sent.producer.1, Sequence::new(sent.sequence));
    builder.append(BEGIN, None, Some(&sent.value.to_be_bytes()), &[]).unwrap();
    CheckedBatch::trusted(builder.build().unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_transaction_is_torn(steps in steps()) {
        let mut whole = Whole::new();
        for step in &steps {
            whole.take(step);
        }
        whole.settle();
        whole.check();
    }
}
