//! `kill -9` under load, again and again on one data folder, at moments drawn from a seed.
//!
//! Each round starts the program, lets idempotent producers append to several partitions with several requests in
//! flight, follows them as a reader, and kills the program when a drawn number of answers has come or of requests has
//! gone out, or in the middle of a request. Segments and indexes are small, so that the moment also falls into rolls,
//! snapshots and flushes. Some partitions keep only so many bytes, and somebody may delete their records. Then the program starts again and everything is checked: see [`ledger`].
//!
//! `HIGHWATER_KILLS` says how many rounds (50 by default), `HIGHWATER_SEED` draws the same sizes, orders and moments
//! again. Where in its own work the program is when the signal comes is the machine's to say.

mod cutter;
mod ledger;
mod load;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use highwater_tests::connection::Connection;
use highwater_tests::program::{Program, highwater};
use highwater_tests::random::Random;

use self::cutter::Cutter;
use self::ledger::Ledger;
use self::load::{Follower, Moment, Sender};

/// Rolls every ten batches or so, because its indexes are full.
const TIGHT: &str = "tight";
/// Rolls because its segments are: large batches, few index entries.
const WIDE: &str = "wide";
/// As tight, and keeps little.
const SHORT: &str = "short";
const SHORT_BYTES: usize = 6_000;
/// As tight, and records are deleted.
const CUT: &str = "cut";

/// A partition written to.
#[derive(Debug)]
struct Place {
    topic: &'static str,
    partition: i32,
    /// What it keeps at least; none if everything, or what nobody deletes.
    retention_bytes: Option<usize>,
}

impl Place {
    const fn new(topic: &'static str, partition: i32) -> Self {
        Self { topic, partition, retention_bytes: None }
    }

    fn may_begin_later(&self) -> bool {
        self.topic == SHORT || self.topic == CUT
    }
}

/// All of them.
const PLACES: [Place; 5] = [
    Place::new(TIGHT, 0),
    Place::new(TIGHT, 1),
    Place::new(WIDE, 0),
    Place { topic: SHORT, partition: 0, retention_bytes: Some(SHORT_BYTES) },
    Place::new(CUT, 0),
];
/// While a round is looked at nothing goes.
const PATIENT: [(&str, &str); 1] = [("log.initial.task.delay.ms", "600000")];
/// What is acknowledged has been synced: logs of small syncs keep zeros ahead of their end.
const DURABLE: (&str, &str) = ("highwater.durability", "leader");
/// Under load retention is looked at all the time.
const EAGER: [(&str, &str); 3] = [
    ("log.initial.task.delay.ms", "0"),
    ("log.retention.check.interval.ms", "1"),
    ("log.flush.start.offset.checkpoint.interval.ms", "5"),
];
const SENDERS: usize = 3;
const ROUNDS: u64 = 50;

pub(super) fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

pub(super) fn wall_clock_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_under_load_lose_nothing_and_double_nothing() {
    let started_ms = wall_clock_ms();
    let seed = from_environment("HIGHWATER_SEED").unwrap_or(started_ms.unsigned_abs());
    let home = tempfile::tempdir().unwrap();
    let mut story = Story::begin(home.path(), seed, started_ms).await;
    for round in 0..from_environment("HIGHWATER_KILLS").unwrap_or(ROUNDS) {
        println!("HIGHWATER_SEED={seed}, round {round}");
        story.round().await;
    }
    story.end().await;
}

/// One folder, and all that is known of it.
struct Story<'a> {
    home: &'a Path,
    random: Random,
    senders: Vec<Sender>,
    ledgers: Vec<Ledger>,
    ids_given: BTreeSet<i64>,
}

impl<'a> Story<'a> {
    async fn begin(home: &'a Path, seed: u64, now_ms: i64) -> Self {
        let mut random = Random::new(seed);
        let program = start(home, &PATIENT);
        let mut connection = Connection::open(program.address).await;
        let tight = [("segment.index.bytes", "120"), ("index.interval.bytes", "0")];
        connection.create_topic(TIGHT, 2, &tight).await;
        let gone_soon = [&tight[..], &[("file.delete.delay.ms", "5")]].concat();
        connection.create_topic(CUT, 1, &gone_soon).await;
        let (bytes, mut short) = (SHORT_BYTES.to_string(), gone_soon);
        short.push(("retention.bytes", &bytes));
        connection.create_topic(SHORT, 1, &short).await;
        connection.create_topic(WIDE, 1, &[("segment.bytes", "1048576")]).await;
        let mut senders = Vec::new();
        for _ in 0..SENDERS {
            let producer = connection.new_producer().await;
            // An hour back, so that no time lies in the future however long this takes.
            senders.push(Sender::new(producer, now_ms - 3_600_000, random.next_u64()));
        }
        let ids_given = senders.iter().map(|sender| sender.producer.id).collect();
        program.stop();
        let ledgers = PLACES.iter().map(Ledger::new).collect();
        Self { home, random, senders, ledgers, ids_given }
    }

    /// Load, a kill, a restart, a look at everything; now and then a clean stop in between.
    async fn round(&mut self) {
        let expires = self.random.below(2) == 0;
        let is_durable = self.random.below(3) == 0;
        let mut settings = if expires { EAGER.to_vec() } else { PATIENT.to_vec() };
        settings.extend(is_durable.then_some(DURABLE));
        let program = start(self.home, &settings);
        self.replace_a_sender(&program).await;
        let deletes = self.random.below(2) == 0;
        let moment = Moment::draw(&mut self.random, program.killer(), deletes);
        println!("  {moment:?}, expires: {expires}, deletes: {deletes}, durable: {is_durable}");
        // Everyone is connected before the first can bring the moment about.
        let reader = Connection::open(program.address).await;
        let mut writers = Vec::new();
        for _ in &self.senders {
            writers.push(Connection::open(program.address).await);
        }
        let cutter = if deletes { Some(Connection::open(program.address).await) } else { None };
        let ends = self.ledgers.iter().map(Ledger::end).collect();
        let reading = tokio::spawn(Follower::new(ends).follow(reader));
        let seed = self.random.next_u64();
        let cutting = cutter
            .map(|connection| tokio::spawn(Cutter::new(seed).cut_until_killed(connection, moment.clone())));
        let senders = std::mem::take(&mut self.senders).into_iter().zip(writers);
        let sending: Vec<_> = senders
            .map(|(sender, connection)| tokio::spawn(sender.send_until_killed(connection, moment.clone())))
            .collect();
        for sender in sending {
            self.senders.push(sender.await.unwrap());
        }
        let follower = reading.await.unwrap();
        let deletions = match cutting {
            Some(cutting) => cutting.await.unwrap(),
            None => Default::default(),
        };
        program.killed();
        if self.random.below(6) == 0 {
            self.is_verified(&[]);
        }

        let mut program = start(self.home, &PATIENT);
        let mut connection = Connection::open(program.address).await;
        for (place, ledger) in self.ledgers.iter_mut().enumerate() {
            ledger.begins(&mut connection, deletions[place]).await;
            if PLACES[place].may_begin_later() {
                ledger.settle(&mut connection, &mut self.senders, place).await;
            }
            ledger.absorb(&mut connection, &mut self.senders, place).await;
            ledger.holds_what_is_kept(deletions[place]);
            ledger.holds_what_was_read(&follower.read[place]);
            ledger.answers_resends(&mut connection, &mut self.senders, place).await;
            ledger.absorb(&mut connection, &mut self.senders, place).await;
            ledger.finds_offsets_and_times(&mut connection, &mut self.random).await;
        }
        if self.random.below(4) == 0 {
            program.stop();
            program = start(self.home, &PATIENT);
            let mut connection = Connection::open(program.address).await;
            for (place, ledger) in self.ledgers.iter_mut().enumerate() {
                ledger.absorb(&mut connection, &mut self.senders, place).await;
                ledger.answers_resends(&mut connection, &mut self.senders, place).await;
            }
        }
        // The next round begins after a kill of an idle program, or after a clean stop.
        if self.random.below(2) == 0 {
            program.stop();
        } else {
            program.killer().strike();
            program.killed();
        }
    }

    /// Producers come and go.
    async fn replace_a_sender(&mut self, program: &Program) {
        if self.random.below(3) > 0 {
            return;
        }
        let producer = Connection::open(program.address).await.new_producer().await;
        assert!(self.ids_given.insert(producer.id), "producer id {} was given twice", producer.id);
        let place = self.random.below(SENDERS);
        let seed = self.random.next_u64();
        self.senders[place].succeed(producer, seed);
    }

    /// `log verify` finds no damage: at most what the next start puts right, and nothing at all where that is asked.
    fn is_verified(&self, how: &[&str]) {
        let mut command = highwater(["log", "verify"].iter().chain(how));
        let judged = command.arg(self.home.join("data")).output().unwrap();
        let said = String::from_utf8_lossy(&judged.stdout);
        assert!(judged.status.success(), "{said}{}", String::from_utf8_lossy(&judged.stderr));
    }

    /// Everything once more, after a clean stop, from the first offset to the last.
    async fn end(mut self) {
        start(self.home, &PATIENT).stop();
        self.is_verified(&["--strict"]);
        let program = start(self.home, &PATIENT);
        let mut connection = Connection::open(program.address).await;
        for (place, ledger) in self.ledgers.iter_mut().enumerate() {
            ledger.holds_everything(&mut connection).await;
            ledger.answers_resends(&mut connection, &mut self.senders, place).await;
            ledger.is_consumed(program.address).await;
            println!("{ledger}");
        }
        program.stop();
    }
}

fn start(home: &Path, settings: &[(&str, &str)]) -> Program {
    Program::start(&home.join("data"), settings, &home.join("said"))
}
