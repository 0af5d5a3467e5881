//! The rows of broker/guarantees.toml, each made to happen on real logs in every way of producing, and compared with what it says.

#![allow(clippy::unwrap_used, reason = "tests")]

mod clocks;
mod disk;
mod failing_logs;
mod failover;
mod histories;
mod in_sync;
mod network;
mod power;
mod random_deaths;
mod relatives;
mod replicas;
mod rot;
mod unclean;
mod views;

use std::fs;
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

use highwater::faults::{Fault, Step};
use highwater_tests::guarantees::judge::{Judge, Run};
use highwater_tests::guarantees::scene::{Hand, Scene};
use highwater_tests::guarantees::words::Told;
use highwater_tests::guarantees::{Costs, Row, TABLE, Way};

/// So many ways of producing are played at a time: most of what they do is wait for what the brokers' clocks say.
const AT_A_TIME: usize = 4;

/// The last issue whose rows are to be true by now.
const SERVED: u8 = 6;

type Playing<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Plays a row in every way of producing, in each of its forms, and judges it. Each has a cluster of its own.
async fn plays<F: Copy>(id: &str, forms: &[F], play: impl AsyncFn(&Row, Way, F) -> Run) {
    let (judges, play) = (judges(id, |_| true).into_iter(), &play);
    let mut all = judges.map(|judge| -> Playing<'_> { Box::pin(plays_one(id, forms, judge, play)) });
    let mut playing = Vec::new();
    poll_fn(|context| {
        loop {
            playing.retain_mut(|one: &mut Playing<'_>| one.as_mut().poll(context).is_pending());
            let before = playing.len();
            playing.extend(all.by_ref().take(AT_A_TIME - before));
            if playing.len() == before {
                return if playing.is_empty() { Poll::Ready(()) } else { Poll::Pending };
            }
        }
    })
    .await;
}

/// The same in the ways in which clients let themselves be configured, one after the other: clients have little patience here.
async fn plays_as_client<F: Copy>(id: &str, forms: &[F], play: impl AsyncFn(&Row, Way, F) -> Run) {
    for judge in judges(id, Way::is_a_clients) {
        plays_one(id, forms, judge, &play).await;
    }
}

async fn plays_one<F: Copy>(
    id: &str,
    forms: &[F],
    mut judge: Judge<'_>,
    play: &impl AsyncFn(&Row, Way, F) -> Run,
) {
    for form in forms {
        let run = Box::pin(play(TABLE.row(id), judge.way(), *form)).await;
        judge.weigh(&run).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    judge.end().unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Plays a row without a runtime.
fn plays_at_once<F: Clone>(id: &str, forms: &[F], play: impl Fn(Way, F) -> Run) {
    for mut judge in judges(id, |_| true) {
        for form in forms {
            let run = play(judge.way(), form.clone());
            judge.weigh(&run).unwrap_or_else(|wrong| panic!("{wrong}"));
        }
        judge.end().unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}

/// Every row about appending that is true by now is played by a test of its name.
#[test]
fn every_row_is_a_test_of_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guarantees");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let sources: Vec<_> = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    let rows = TABLE.rows().iter().filter(|row| matches!(row.costs, Costs::Append(_)));
    for row in rows.filter(|row| row.served_from <= SERVED) {
        let letters = |c: char| {
            if c.is_alphanumeric() { Some(c.to_ascii_lowercase()) } else { (c == ' ').then_some('_') }
        };
        let title: String = row.title.chars().filter_map(letters).collect();
        let name = format!("fn row_{}_{title}()", row.id.to_string().to_lowercase());
        assert!(sources.iter().any(|source| source.contains(&name)), "no test {name}");
    }
}

/// A judge for each way of producing in which a row's event can happen.
fn judges(id: &str, fits: impl Fn(Way) -> bool) -> Vec<Judge<'static>> {
    let row = TABLE.row(id);
    let judges: Vec<_> = row.ways().filter(|way| fits(*way)).map(|way| Judge::of(row, way)).collect();
    assert!(!judges.is_empty(), "nobody can meet row {id}");
    judges
}

/// A fault meets one batch; one before it and one behind it are as ever.
async fn one_batch_meets(row: &Row, way: Way, step: Step, fault: Fault) -> Run {
    let scene = Scene::of(row, way).await;
    let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
    hand.sends(&scene, "before", &mut run).await;
    scene.strike(step, fault, 1);
    hand.meets(&scene, "met", &mut run).await;
    goes_on(&scene, way, &mut run).await;
    run
}

/// Another record, from another producer, and all there is then.
async fn goes_on(scene: &Scene, way: Way, run: &mut Run) {
    let mut hand = Hand::of(scene).await;
    let after = hand.next("after");
    let mut own = Run::default();
    let told = hand.deliver(scene, &after, &mut own).await;
    assert!(told == Told::Acknowledged || told == Told::Sent, "{way}: the partition does not go on: {own:?}");
    run.sent("after", told);
    let values = scene.values().await;
    run.read(&values);
    run.stored(values);
}
