//! Runs of the lab: many seeds, each a cluster of three nodes with faults, and those that once found something.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use highwater::lab;
use highwater_tests::guarantees::words::{Acks, Lost, Mode};
use highwater_tests::guarantees::{self, Guarantees, Way};

/// How many seeds are run where nothing is said of time: about as many as take ten seconds, narrow and wide.
const SEEDS: u64 = 40;
const WIDE_SEEDS: u64 = 20;
/// How many seconds to look for seeds that fail, however many that are.
const BUDGET: &str = "HIGHWATER_LAB_S";
/// How many seeds at most.
const COUNT: &str = "HIGHWATER_LAB_SEEDS";
/// The first seed; the default begins anew at the same one, so that what fails in one place fails in another.
const FIRST: &str = "HIGHWATER_LAB_SEED";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|given| given.parse().ok()).unwrap_or(default)
}

type Run = fn(u64) -> Result<lab::Report, lab::Failure>;

fn outcome(run: Run, seed: u64) -> Result<lab::Report, String> {
    let outcome = std::panic::catch_unwind(|| run(seed));
    match outcome {
        Ok(outcome) => outcome.map_err(|failure| failure.to_string()),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
            Err(format!("seed {seed}: {words}"))
        }
    }
}

fn hunt(run: Run, seeds: u64) {
    let (first, began) = (number(FIRST, 1), Instant::now());
    let is_hunting = std::env::var(BUDGET).is_ok();
    let budget = Duration::from_secs(number(BUDGET, 120));
    let last = first + number(COUNT, if is_hunting { u64::MAX - first } else { seeds });
    let (mut seed, mut failed) = (first, Vec::new());
    let (mut steps, mut faults, mut records, mut compacted, mut micros) = (0, 0, 0, 0, 0);
    let mut lost: BTreeMap<&str, u64> = BTreeMap::new();
    while seed < last && began.elapsed() < budget && failed.len() < 20 {
        match outcome(run, seed) {
            Ok(report) => {
                steps += report.steps;
                faults += report.faults;
                records += report.records;
                compacted += report.compacted;
                micros += report.micros;
                *lost.entry(report.durability).or_default() += report.lost;
            }
            Err(what) => {
                println!("{}", what.chars().take(1500).collect::<String>());
                failed.push(seed);
            }
        }
        seed += 1;
    }
    let hours = micros / 3_600_000_000;
    println!(
        "seeds {first}..{seed}: {steps} steps, {faults} faults, {records} records, {compacted} compacted, \
         {hours} virtual hours, lost of what a leader acknowledged alone {lost:?}, {} s",
        began.elapsed().as_secs()
    );
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    is_lost_as_the_table_says(&lost);
}

/// What a leader alone acknowledged may go with it (row 3 of the table), and with some durability it may not.
fn is_lost_as_the_table_says(lost: &BTreeMap<&str, u64>) {
    let table = Guarantees::read(guarantees::SOURCE).unwrap_or_else(|wrong| panic!("{wrong}"));
    for mode in Mode::ALL {
        let way = Way { acks: Acks::Leader, idempotence: false, retries: true, mode: *mode };
        let cell = table.row("3").cell(way).expect("row 3 speaks of acks=1");
        let lost = lost.get(mode.word()).copied().unwrap_or(0);
        assert!(cell.lost != Lost::Nothing || lost == 0, "{way}: {lost} records are lost");
    }
}

#[test]
fn as_many_seeds_as_there_is_time_for() {
    hunt(lab::run, SEEDS);
}

#[test]
fn as_many_wide_seeds_as_there_is_time_for() {
    hunt(lab::run_wide, WIDE_SEEDS);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..4 {
        let (first, second) = (lab::trace(seed), lab::trace(seed));
        assert!(first == second, "seed {seed}");
        assert!(first.1.lines().count() > 1_000, "a trace tells what happens");
    }
    assert_ne!(lab::trace(1).1, lab::trace(2).1);
    let wide = lab::trace_wide(2);
    assert!(wide == lab::trace_wide(2), "a wide one");
    assert!(wide.0.is_ok_and(|report| report.compacted > 0), "whose logs are compacted");
}

fn holds(run: Run, seeds: impl IntoIterator<Item = u64>) {
    let failed: Vec<_> = seeds.into_iter().filter_map(|seed| outcome(run, seed).err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// One that had nothing to ask a leader for a while counted its fetches anew, and the leader took them for late.
#[test]
fn a_follower_that_comes_back_to_a_leader_is_heard() {
    holds(lab::run, [10, 39, 60, 96, 98, 109, 144, 195, 217, 237]);
}

/// What it had from the leader before was synced by nobody, and so never committed.
#[test]
fn a_node_that_begins_to_lead_where_syncs_are_promised_syncs_what_it_has() {
    holds(lab::run, [67, 188]);
}

/// The recovery point on disk lay above where the log was cut: what the power then took passed for damage.
#[test]
fn a_log_that_was_cut_is_looked_at_from_there_on() {
    holds(lab::run, [2773, 3275, 4123]);
}

/// A leader that does not know a producer takes any sequence from it: of two batches under way the second was stored, where
/// the first had been refused for the moment.
#[test]
fn a_producer_that_nobody_knows_yet_has_one_batch_under_way() {
    holds(
        lab::run,
        [1057, 1658, 1671, 2110, 2162, 2716, 3372, 4005, 4351, 20371, 20684, 21130, 21327, 21344],
    );
}

/// Who is cut off believes that it leads, and says of the next batch that it is out of order: the producer goes on in another
/// epoch, as Kafka's does.
#[test]
fn who_only_believes_that_it_leads_lacks_what_was_acknowledged_since() {
    holds(lab::run, [1208]);
}

/// Metadata of a node that is behind sent them back to who led before, and was out of range there.
#[test]
fn readers_keep_to_the_newest_leader_they_heard_of() {
    holds(lab::run, [1447, 4127]);
}

/// An answer got lost while its follower had something else to say: the leader took it for heard, and never said it again.
#[test]
fn an_answer_that_is_lost_between_others_is_noticed() {
    holds(lab::run_wide, [401, 440]);
}

/// Who led again was believed of a record that it had appended when it led before, and lost.
#[test]
fn who_leads_again_does_not_answer_for_what_it_appended_before() {
    holds(lab::run_wide, [630]);
}

/// A log that begins within a batch, where records were deleted, begins with that batch after a crash; its replica then
/// knows of a part of the batch that it is committed.
#[test]
fn a_log_may_begin_within_a_batch() {
    holds(lab::run_wide, [64, 1218]);
}

/// A place that was looked up was taken for one behind a record of the epoch it was told: asked where that epoch ended, the
/// next leader named an offset further on, and what lay between was skipped.
#[test]
fn a_consumer_that_begins_at_the_beginning_does_not_skip_when_another_leads() {
    holds(lab::run_wide, [492]);
}

/// Of a log that parted from its leader's before that one begins nothing is left: it begins where the leader's does, which may be
/// within a batch.
#[test]
fn a_log_of_which_nothing_is_left_begins_where_its_leaders_does() {
    holds(lab::run_wide, [78, 2045]);
}
