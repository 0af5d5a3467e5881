//! Any history of one transactional id, beside Kafka's own code ([`kafka`](super::kafka)): the same errors, and the same
//! records. Logs refuse and lag, markers are lost and come twice, time passes, and another node coordinates in between.

use proptest::prelude::*;

use super::kafka::{self, By, Metadata};
use super::*;

/// Whom a request is from, as seen from who the producer is.
#[derive(Debug, Clone, Copy)]
enum From {
    Now,
    Before,
    After,
    /// By the id that the producer had before, in the last epoch of it.
    Overflowed,
    Stranger,
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Init(Option<From>),
    Add(From, BTreeSet<i32>),
    Verify(From),
    End {
        from: From,
        commit: bool,
        other_rules: bool,
    },
    /// What becomes of one marker that is on its way.
    Marked {
        which: usize,
        fate: u8,
    },
    Wait(i32),
    /// The log's records are not committed, or some more are, or all at once.
    Hold,
    Release(Option<usize>),
    Refuse(bool),
    NoIds(bool),
    ForgetOld,
    FailOver {
        loses: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let from = prop_oneof![
        8 => Just(From::Now),
        2 => Just(From::Before),
        1 => Just(From::After),
        1 => Just(From::Overflowed),
        1 => Just(From::Stranger),
    ];
    let partitions = prop::collection::btree_set(0..4_i32, 1..3);
    let step = prop_oneof![
        4 => prop::option::of(from.clone()).prop_map(Step::Init),
        8 => (from.clone(), partitions).prop_map(|(from, partitions)| Step::Add(from, partitions)),
        1 => from.clone().prop_map(Step::Verify),
        8 => (from, any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(from, commit, other_rules)| Step::End { from, commit, other_rules }),
        16 => (0..8_usize, 0..8_u8).prop_map(|(which, fate)| Step::Marked { which, fate }),
        3 => (1..40_000).prop_map(Step::Wait),
        1 => Just(Step::Hold),
        3 => prop::option::of(1..3_usize).prop_map(Step::Release),
        1 => prop::bool::weighted(0.3).prop_map(Step::Refuse),
        1 => prop::bool::weighted(0.3).prop_map(Step::NoIds),
        1 => Just(Step::ForgetOld),
        1 => any::<bool>().prop_map(|loses| Step::FailOver { loses }),
    ];
    prop::collection::vec(step, 1..120)
}

/// The coordinator, and what Kafka would have.
struct History {
    bench: Bench,
    version: TransactionVersion,
    /// What is committed, if anything is kept.
    model: Option<Metadata>,
    /// What is written and not committed, where; none for what is to be forgotten.
    pending: Option<(usize, Option<Metadata>)>,
    /// The markers that are missing, while the end is decided.
    missing: BTreeSet<i32>,
    /// Everything on its way.
    sent: Vec<(MarkersToWrite, i32)>,
    /// How many records were looked at.
    seen: usize,
    /// Every producer that was given to a client, and how often.
    given: Vec<Producer>,
}

impl History {
    fn new(version: TransactionVersion, first_epoch: i16) -> Self {
        let (mut bench, (id, _)) = Bench::in_epoch(first_epoch, version);
        bench.world.ids_left = usize::MAX;
        let mut model = Metadata::created(id.get(), TIMEOUT_MS, BEGIN.get());
        model.epoch = i32::from(first_epoch);
        // As `rotated` or `initialized` would have left it.
        model.prev_pid = if version == V0 { -1 } else { id.get() };
        let given = Vec::new();
        let (sent, missing) = (Vec::new(), BTreeSet::new());
        Self { bench, version, model: Some(model), pending: None, missing, sent, seen: 1, given }
    }

    fn by(&self, from: From) -> Producer {
        let Some(model) = &self.model else { return producer(1, 0) };
        // A client knows what it was told: during the end of a transaction that is who it is after it.
        let (pid, epoch) = match &self.pending {
            _ if matches!(model.state, kafka::State::PrepareCommit | kafka::State::PrepareAbort) => {
                let after = model.complete(0);
                (after.pid, after.epoch)
            }
            _ => (model.pid, model.epoch),
        };
        let epoch = i16::try_from(epoch).unwrap();
        match from {
            From::Now => producer(pid, epoch),
            From::Before => producer(pid, epoch.saturating_sub(1)),
            From::After => producer(pid, epoch.saturating_add(1)),
            From::Overflowed => producer(model.prev_pid, 32_766),
            From::Stranger => producer(7, epoch),
        }
    }

    fn wall(&self) -> i64 {
        self.bench.now.wall.get()
    }

    /// Whether Kafka has a step pending.
    fn is_pending(&self) -> bool {
        let is_prepared = |model: &Metadata| {
            matches!(model.state, kafka::State::PrepareCommit | kafka::State::PrepareAbort)
        };
        self.pending.is_some() || self.model.as_ref().is_some_and(is_prepared)
    }

    /// What the log makes of a step: the outcome, as a number.
    fn append(&mut self, prepared: Result<Option<Metadata>, i16>) -> i16 {
        match prepared {
            Err(code) => code,
            Ok(_) if self.bench.world.refuses.is_some() => 15,
            Ok(to) => {
                if let (None, Some(to)) = (&self.model, &to) {
                    self.model = Some(Metadata::created(to.pid, to.timeout_ms, to.updated));
                }
                self.pending = Some((self.seen, to));
                0
            }
        }
    }

    /// Producer ids as the bench gives them, seen from before it does.
    fn generator(world: &World) -> impl FnMut() -> Result<i64, i16> + use<> {
        let (next, left) = (world.next_id, world.ids_left);
        move || if left == 0 { Err(14) } else { Ok(next + 1) }
    }

    fn take(&mut self, step: &Step) {
        let now = self.wall();
        match step {
            Step::Init(from) => self.init(from.map(|from| self.by(from))),
            Step::Add(from, partitions) => {
                let (pid, epoch) = self.by(*from);
                let by = By { pid: pid.get(), epoch: i32::from(epoch.get()), now };
                let expected = match &self.model {
                    None => Err(49),
                    Some(_) if self.is_pending() => Err(51),
                    Some(model) => model.add(by, partitions, self.version.level()).map(Some),
                };
                let indexes: Vec<_> = partitions.iter().copied().collect();
                let asker = self.bench.ask_to_add(add((pid, epoch), &indexes, self.version));
                let expected = self.append(expected);
                self.expect(asker, expected, None);
            }
            Step::Verify(from) => {
                let (pid, epoch) = self.by(*from);
                let by = By { pid: pid.get(), epoch: i32::from(epoch.get()), now };
                let expected = self.model.as_ref().map_or(Err(49), |model| model.verify(by, &[0, 3]));
                let told = self.bench.verify((pid, epoch), &[0, 3]);
                let told = match &told {
                    Ok(each) => Ok(each.iter().map(code).collect()),
                    refused => Err(code(refused)),
                };
                assert_eq!(told, expected);
            }
            Step::End { from, commit, other_rules } => self.end(self.by(*from), *commit, *other_rules),
            Step::Marked { which, fate } => self.marked(*which, *fate),
            Step::Wait(ms) => self.bench.wait_ms(*ms),
            Step::Hold => {
                if self.bench.held_at.is_none() {
                    self.bench.hold();
                }
            }
            Step::Release(None) => self.bench.release(),
            Step::Release(Some(records)) => {
                if let Some(held_at) = self.bench.held_at {
                    let more = held_at.get() + i64::try_from(*records).unwrap();
                    self.bench.held_at = Some(Offset::new(more).min(self.bench.log_end()));
                    self.bench.turn(|_, _| ());
                }
            }
            Step::Refuse(refuses) => {
                self.bench.world.refuses = refuses.then_some(Refusal::NotEnoughReplicas);
            }
            Step::NoIds(none) => self.bench.world.ids_left = if *none { 0 } else { usize::MAX },
            Step::ForgetOld => self.forget_old(),
            Step::FailOver { loses } => self.fail_over(*loses),
        }
        self.look();
        self.check();
    }

    fn init(&mut self, known: Option<Producer>) {
        let now = self.wall();
        let mut generate = Self::generator(&self.bench.world);
        let expected_known = known.map(|(pid, epoch)| (pid.get(), i32::from(epoch.get())));
        let prepared = if self.is_pending() {
            Err(51)
        } else {
            let created = || generate().map(|pid| Metadata::created(pid, TIMEOUT_MS, now));
            match self.model.clone().map_or_else(created, Ok) {
                Err(code) => Err(code),
                Ok(model) => match model.init(expected_known, TIMEOUT_MS, now, &mut generate) {
                    // Aborts first; who asked is told so when that is committed.
                    Err(0) => {
                        let fence = model.fence(self.version.level(), now, &mut generate);
                        let asker = self.bench.ask_to_init(&init(known));
                        let expected = self.append(fence.map(Some));
                        let told = if expected == 0 { 51 } else { expected };
                        if expected == 0 && self.version == V0 {
                            // The producer is fenced at once.
                            let model = self.model.as_mut().unwrap();
                            (model.epoch, model.last_epoch) = ((model.epoch + 1).min(32_767), -1);
                        }
                        return self.expect(asker, told, None);
                    }
                    outcome => outcome.map(Some),
                },
            }
        };
        let told = prepared.clone().ok().flatten().map(|to| (to.pid, to.epoch));
        let asker = self.bench.ask_to_init(&init(known));
        let expected = self.append(prepared);
        self.expect(asker, expected, told);
    }

    fn end(&mut self, by: Producer, commit: bool, other_rules: bool) {
        // A client may still speak by the old rules where the cluster has the new ones.
        let version = if other_rules { V0 } else { self.version };
        let now = self.wall();
        let who = By { pid: by.0.get(), epoch: i32::from(by.1.get()), now };
        let mut generate = Self::generator(&self.bench.world);
        let pending = self.is_pending();
        let prepared = match &self.model {
            None => Err(49),
            Some(model) if version == V2 => model.end_v2(pending, who, commit, &mut generate),
            Some(model) => model.end_v1(pending, who, commit),
        };
        let told = match (&prepared, &self.model) {
            _ if version == V0 => None,
            (Ok(to), _) => {
                let after = to.complete(0);
                Some((after.pid, after.epoch))
            }
            (Err(0), Some(model)) => Some((model.pid, model.epoch)),
            _ => None,
        };
        let end = if commit { End::Commit } else { End::Abort };
        let asker = self.bench.ask_to_end(&end_of(by, end, version));
        let expected = self.append(prepared.map(Some));
        self.expect(asker, expected, told);
    }

    /// Who asked is told this, now or when what was written is committed.
    fn expect(&mut self, asker: Asker, expected: i16, producer: Option<(i64, i32)>) {
        let parked = self.bench.parked.iter().find(|answer| answer.asker == asker);
        let reply = parked.map(|answer| answer.reply.clone()).or_else(|| self.bench.told(asker));
        let (told, given) = match reply.expect("an answer") {
            TransactionReply::Producer(outcome) => (code(&outcome), outcome.ok()),
            TransactionReply::Added(outcome) => (code(&outcome), None),
            TransactionReply::Ended(outcome) => (code(&outcome), outcome.ok().flatten()),
        };
        assert_eq!(told, expected);
        if told == 0 {
            let given = given.map(|(pid, epoch)| (pid.get(), i32::from(epoch.get())));
            assert_eq!(given, producer);
        }
        if let Some(given) = given {
            assert!(given.1.get() < 32_767, "the last epoch is nobody's");
            self.given.push(given);
        }
    }

    fn marked(&mut self, which: usize, fate: u8) {
        for (_, sent) in std::mem::take(&mut self.bench.markers) {
            self.sent.extend(sent.partitions.iter().map(|at| (sent.clone(), at.partition.0)));
        }
        if self.sent.is_empty() {
            return;
        }
        let which = which % self.sent.len();
        let (sent, partition) = self.sent[which].clone();
        match fate {
            0 => drop(self.sent.remove(which)),
            1 => {
                self.sent.remove(which);
                self.bench.marked(&sent, partition, Err(Refusal::NotEnoughReplicas));
            }
            // It may come once more.
            2 => self.bench.marked(&sent, partition, Ok(())),
            _ => {
                self.sent.remove(which);
                self.bench.marked(&sent, partition, Ok(()));
            }
        }
        let is_of_this = self.model.as_ref().is_some_and(|model| {
            let (pid, epoch) = sent.marker.producer;
            (pid.get(), i32::from(epoch.get())) == (model.pid, model.epoch)
        });
        if fate > 1 && is_of_this && sent.marker.coordinator_epoch == self.bench.epoch.get() {
            self.missing.remove(&partition);
        }
    }

    fn forget_old(&mut self) {
        let is_at_rest = |model: &Metadata| {
            use kafka::State::{CompleteAbort, CompleteCommit, Empty};
            matches!(model.state, Empty | CompleteCommit | CompleteAbort)
        };
        let before = self.bench.limits.id_expiration_ms;
        self.bench.limits.id_expiration_ms = 50_000;
        let is_old = |model: &Metadata| is_at_rest(model) && model.updated <= self.wall() - 50_000;
        let goes = self.pending.is_none() && self.model.as_ref().is_some_and(is_old);
        let _ = self.bench.turn(|coordinator, turn| coordinator.forget_old(turn));
        self.bench.limits.id_expiration_ms = before;
        if goes {
            self.append(Ok(None));
        }
    }

    fn fail_over(&mut self, loses: bool) {
        let committed = usize::try_from(self.bench.high_watermark().get()).unwrap();
        if loses {
            self.bench.world.records.truncate(committed);
            self.seen = committed;
            self.pending = None;
        }
        if let Some(model) = &mut self.model {
            // What is not written down: the epoch before, an epoch that was fenced and is not committed, and in records
            // of version 0 the id before.
            model.last_epoch = -1;
            if self.version == V0 {
                model.prev_pid = -1;
            }
            let of_id = self.bench.world.records[..committed].iter().rev();
            if let Some(Record { transaction: Some(known), .. }) = of_id.into_iter().next() {
                model.epoch = i32::from(known.epoch.get());
            } else {
                model.epoch = -1;
            }
            if model.epoch == -1 && self.pending.is_none() {
                self.model = None;
            }
        }
        if let Some((_, Some(to))) = &mut self.pending {
            to.last_epoch = -1;
            if self.version == V0 {
                to.prev_pid = -1;
            }
        }
        self.missing = match &self.model {
            Some(model) if self.is_pending() && self.pending.is_none() => model.partitions.clone(),
            _ => std::mem::take(&mut self.missing),
        };
        self.bench.fail_over();
    }

    /// Looks at what was written: every record is one that Kafka would have written then.
    fn look(&mut self) {
        loop {
            self.take_effect();
            let Some(record) = self.bench.world.records.get(self.seen) else { break };
            let at = self.seen;
            let expected = match &self.pending {
                Some((pending_at, to)) if *pending_at == at => to.clone(),
                _ => Some(self.unasked()),
            };
            assert_eq!(record.transaction.as_ref().map(as_kafka), expected);
            let is_fence = self.pending.is_none() && !self.is_pending();
            if let Some(model) = self.model.as_mut().filter(|_| is_fence && self.version == V0) {
                // The producer is fenced at once.
                (model.epoch, model.last_epoch) = ((model.epoch + 1).min(32_767), -1);
            }
            self.pending = Some((at, expected));
            self.seen += 1;
        }
    }

    /// What the coordinator writes by itself: the end of what has all its markers, or of what lasted too long.
    fn unasked(&self) -> Metadata {
        let model = self.model.as_ref().expect("something is kept");
        assert!(self.pending.is_none(), "one step at a time");
        if self.is_pending() {
            assert!(self.missing.is_empty(), "a marker is missing: {:?}", self.missing);
            return model.complete(self.wall());
        }
        assert_eq!(model.state, kafka::State::Ongoing);
        assert!(model.start + i64::from(model.timeout_ms) <= self.wall(), "not yet");
        let mut world = Self::generator(&World {
            next_id: self.bench.world.next_id - 1,
            ids_left: 1,
            records: Vec::new(),
            refuses: None,
            leaders: BTreeMap::new(),
        });
        model.fence(self.version.level(), self.wall(), &mut world).unwrap()
    }

    /// What is committed counts.
    fn take_effect(&mut self) {
        let committed = usize::try_from(self.bench.high_watermark().get()).unwrap();
        let is_committed =
            |pending: &mut (usize, Option<Metadata>)| pending.0 < committed && pending.0 < self.seen;
        if let Some((_, to)) = self.pending.take_if(is_committed) {
            self.model = to;
            self.missing.clear();
            if let Some(model) = self.model.as_ref().filter(|_| self.is_pending()) {
                self.missing = model.partitions.clone();
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.bench.current().map(as_kafka), self.model, "what is committed");
        // Of who is fenced early the log does not know yet.
        let fenced_early = self.version == V0 && self.pending.is_some();
        // Who reads the same records knows the same, but for what is not written.
        let replayed = self.bench.replayed(self.bench.epoch);
        let of_log = replayed.entries.get("tx").map(|entry| entry.current.as_written());
        if self.version != V0 {
            assert_eq!(of_log, self.bench.current().map(Transaction::as_written), "what is replayed");
        } else if !fenced_early {
            let bare = |transaction: Transaction| Transaction {
                previous_producer_id: ProducerId::NONE,
                client_version: V0,
                ..transaction
            };
            let current = self.bench.current().map(Transaction::as_written);
            assert_eq!(of_log.map(bare), current.map(bare));
        }
        let under_way = self.model.as_ref().is_some_and(|model| model.state == kafka::State::Ongoing);
        if under_way && self.pending.is_none() {
            assert!(self.bench.coordinator.next_deadline().is_some(), "a timer is behind it");
        }
    }

    /// Whatever happened: when everything works again, nothing stays under way.
    fn settle(&mut self) {
        self.bench.world.refuses = None;
        self.bench.world.ids_left = usize::MAX;
        self.bench.release();
        self.look();
        for _ in 0..4 {
            self.bench.wait_ms(TIMEOUT_MS);
            self.look();
            for (_, sent) in std::mem::take(&mut self.bench.markers) {
                for partition in sent.partitions.iter().map(|at| at.partition.0) {
                    self.bench.marked(&sent, partition, Ok(()));
                    self.missing.remove(&partition);
                    self.look();
                }
            }
        }
        self.check();
        let at_rest = self.bench.current().is_none_or(|current| current.state.is_at_rest());
        assert!(at_rest, "{:?}", self.bench.current());
        assert!(self.bench.parked.is_empty());
        assert_eq!(self.bench.coordinator.next_deadline(), None);
    }
}

fn as_kafka(transaction: &Transaction) -> Metadata {
    let state = match transaction.state {
        State::Empty => kafka::State::Empty,
        State::Ongoing => kafka::State::Ongoing,
        State::PrepareCommit => kafka::State::PrepareCommit,
        State::PrepareAbort => kafka::State::PrepareAbort,
        State::CompleteCommit => kafka::State::CompleteCommit,
        State::CompleteAbort => kafka::State::CompleteAbort,
    };
    Metadata {
        pid: transaction.producer_id.get(),
        prev_pid: transaction.previous_producer_id.get(),
        next_pid: transaction.next_producer_id.get(),
        epoch: i32::from(transaction.epoch.get()),
        last_epoch: i32::from(transaction.last_epoch.get()),
        timeout_ms: transaction.timeout_ms,
        state,
        partitions: transaction.partitions.iter().map(|at| at.partition.0).collect(),
        start: transaction.started_at.get(),
        updated: transaction.updated_at.get(),
        client_version: transaction.client_version.level(),
    }
}

fn live(version: TransactionVersion, first_epoch: i16, steps: &[Step]) {
    let mut history = History::new(version, first_epoch);
    for step in steps {
        history.take(step);
    }
    history.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn by_version_2_it_is_as_in_kafka(steps in steps()) {
        live(V2, 0, &steps);
    }

    #[test]
    fn by_version_2_it_is_as_in_kafka_where_epochs_are_used_up(first in 32_760..=32_766_i16, steps in steps()) {
        live(V2, first, &steps);
    }

    #[test]
    fn before_version_2_it_is_as_in_kafka(first in prop_oneof![Just(0), 32_760..=32_766_i16], steps in steps()) {
        live(V0, first, &steps);
    }
}
