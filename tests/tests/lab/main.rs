//! Runs of the lab: many seeds, each a cluster of three nodes with faults, and those that once found something.

use std::time::{Duration, Instant};

use highwater::lab;

/// How many seeds are run where nothing is said of time: about as many as take 20 seconds.
const SEEDS: u64 = 80;
/// How many seconds to look for seeds that fail, however many that are.
const BUDGET: &str = "HIGHWATER_LAB_S";
/// The first seed; the default begins anew at the same one, so that what fails in one place fails in another.
const FIRST: &str = "HIGHWATER_LAB_SEED";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|given| given.parse().ok()).unwrap_or(default)
}

fn run(seed: u64) -> Result<lab::Report, String> {
    let outcome = std::panic::catch_unwind(|| lab::run(seed));
    match outcome {
        Ok(outcome) => outcome.map_err(|failure| failure.to_string()),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
            Err(format!("seed {seed}: {words}"))
        }
    }
}

#[test]
fn as_many_seeds_as_there_is_time_for() {
    let (first, began) = (number(FIRST, 1), Instant::now());
    let is_hunting = std::env::var(BUDGET).is_ok();
    let budget = Duration::from_secs(number(BUDGET, 120));
    let last = if is_hunting { u64::MAX } else { first + SEEDS };
    let (mut seed, mut failed) = (first, Vec::new());
    let (mut steps, mut faults, mut records, mut micros) = (0, 0, 0, 0);
    while seed < last && began.elapsed() < budget && failed.len() < 20 {
        match run(seed) {
            Ok(report) => {
                steps += report.steps;
                faults += report.faults;
                records += report.records;
                micros += report.micros;
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
        "seeds {first}..{seed}: {steps} steps, {faults} faults, {records} records, {hours} virtual hours"
    );
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..4 {
        let (first, second) = (lab::trace(seed), lab::trace(seed));
        assert!(first == second, "seed {seed}");
        assert!(first.1.lines().count() > 1_000, "a trace tells what happens");
    }
    assert_ne!(lab::trace(1).1, lab::trace(2).1);
}

fn holds(seeds: impl IntoIterator<Item = u64>) {
    let failed: Vec<_> = seeds.into_iter().filter_map(|seed| run(seed).err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// One that had nothing to ask a leader for a while counted its fetches anew, and the leader took them for late.
#[test]
fn a_follower_that_comes_back_to_a_leader_is_heard() {
    holds([10, 39, 60, 96, 98, 109, 144, 195, 217, 237]);
}

/// What it had from the leader before was synced by nobody, and so never committed.
#[test]
fn a_node_that_begins_to_lead_where_syncs_are_promised_syncs_what_it_has() {
    holds([67, 188]);
}

/// The recovery point on disk lay above where the log was cut: what the power then took passed for damage.
#[test]
fn a_log_that_was_cut_is_looked_at_from_there_on() {
    holds([2773, 3275, 4123]);
}
