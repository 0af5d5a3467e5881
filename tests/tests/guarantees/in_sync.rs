//! Rows about who is in sync: followers that are cut off or slow, and a leader that is left alone.

use highwater_protocol::ErrorCode;
use highwater_tests::connection::until;
use highwater_tests::guarantees::judge::Run;
use highwater_tests::guarantees::scene::{Answer, Hand, Scene};
use highwater_tests::guarantees::words::{Acks, Sign};
use highwater_tests::guarantees::{Row, Way};

use crate::{goes_on, plays};

type Settings = [(&'static str, &'static str)];

/// How long a follower may lag: long for one that lives, short for a test.
const LAG: &Settings = &[("replica.lag.time.max.ms", "400")];
const LAG_AND_UNCLEAN: &Settings =
    &[("replica.lag.time.max.ms", "400"), ("unclean.leader.election.enable", "true")];
const ALL: usize = 3;

/// A cluster whose three replicas have "before", and its leader.
pub(crate) async fn replicated(row: &Row, way: Way, settings: &Settings) -> (Scene, Run, Hand, usize) {
    let scene = Scene::in_memory(row, way, settings).await;
    let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
    hand.sends(&scene, "before", &mut run).await;
    run.read(scene.values().await);
    let leader = scene.leader().await;
    hand.reconnect(&scene).await;
    (scene, run, hand, leader)
}

/// It is cut off, or its node does nothing.
#[tokio::test]
async fn row_5_one_follower_is_cut_off_or_slow() {
    plays("5", &[false, true], async |row, way, is_slow| {
        let (scene, mut run, mut hand, leader) = replicated(row, way, LAG).await;
        let silent = scene.others(leader).last().unwrap();
        if is_slow {
            scene.pause(silent)
        } else {
            scene.server().cluster.cut(leader, silent)
        }
        hand.meets(&scene, "met", &mut run).await;
        if way.waits_for_all() {
            let in_sync = scene.partition_as_told_by(leader).await.unwrap().isr_nodes.len();
            assert_eq!(in_sync, ALL - 1, "{way}: who is in sync is waited for");
        }
        run.read(scene.values().await);
        scene.until_in_sync(ALL - 1).await;
        if is_slow {
            scene.resume(silent)
        } else {
            scene.server().cluster.heal(leader, silent)
        }
        scene.until_in_sync(ALL).await;
        goes_on(&scene, way, &mut run).await;
        run
    })
    .await;
}

#[tokio::test]
async fn row_6a_both_followers_are_cut_off_before_the_append() {
    plays("6a", &[()], async |row, way, ()| {
        let (scene, mut run, mut hand, leader) = replicated(row, way, LAG).await;
        scene.leave_alone(leader).await;
        let batch = hand.next("met");
        let mut told = None;
        let end = scene.log_end(leader).unwrap();
        hand.begin(&batch).await;
        if way.acks == Acks::All {
            let sign = Sign::Code(ErrorCode::NotEnoughReplicas);
            if way.retries {
                assert_eq!(hand.end(|| false).await, Answer::Sign(sign), "{way}");
                run.saw(sign);
            } else {
                told = Some(hand.pursue(&scene, &batch, &mut run).await);
            }
            assert_eq!(scene.log_end(leader), Some(end), "{way}: a refused batch is not appended");
        } else {
            if !way.waits_for_all() {
                told = Some(hand.pursue(&scene, &batch, &mut run).await);
            }
            scene.until_appended(leader, end + 1).await;
        }
        assert_eq!(scene.readable().await, ["before"], "{way}: nothing is committed by too few");
        scene.heal(leader);
        scene.until_in_sync(ALL).await;
        if way.acks == Acks::All && told.is_none() {
            hand.begin(&batch).await;
        }
        let told = match told {
            Some(told) => told,
            None => hand.pursue(&scene, &batch, &mut run).await,
        };
        run.met("met", told);
        goes_on(&scene, way, &mut run).await;
        run
    })
    .await;
}

/// The followers come back while they still count as in sync, or after a retry that found them gone.
#[tokio::test]
async fn row_6b_both_followers_are_cut_off_after_the_append() {
    const SOON_MS: i32 = 100;
    plays("6b", &[false, true], async |row, way, is_long| {
        let settings: &Settings = if is_long { LAG } else { &[] };
        let (scene, mut run, mut hand, leader) = replicated(row, way, settings).await;
        scene.cut_off(leader);
        let end = scene.log_end(leader).unwrap();
        let batch = hand.next("met");
        hand.set_timeout_ms(SOON_MS);
        hand.begin(&batch).await;
        let mut told = None;
        if way.waits_for_all() && way.retries {
            let sign = Sign::Code(ErrorCode::RequestTimedOut);
            assert_eq!(hand.end(|| false).await, Answer::Sign(sign), "{way}");
            run.saw(sign);
            run.lost_answers(1);
        } else {
            told = Some(hand.pursue(&scene, &batch, &mut run).await);
        }
        scene.until_appended(leader, end + 1).await;
        if is_long {
            scene.until_in_sync(1).await;
            if way.acks == Acks::All && way.retries {
                hand.begin(&batch).await;
                let sign = Sign::Code(ErrorCode::NotEnoughReplicas);
                assert_eq!(hand.end(|| false).await, Answer::Sign(sign), "{way}");
                run.saw(sign);
            }
        }
        assert_eq!(scene.readable().await, ["before"], "{way}: nothing is committed by too few");
        scene.heal(leader);
        scene.until_in_sync(ALL).await;
        let told = match told {
            Some(told) => told,
            None => {
                hand.set_timeout_ms(30_000);
                hand.deliver(&scene, &batch, &mut run).await
            }
        };
        run.met("met", told);
        goes_on(&scene, way, &mut run).await;
        run
    })
    .await;
}

#[tokio::test]
async fn row_6c_both_followers_are_cut_off_and_the_leader_is_killed() {
    plays("6c", &[()], async |row, way, ()| {
        let (scene, mut run, mut hand, leader) = replicated(row, way, LAG).await;
        scene.leave_alone(leader).await;
        let end = scene.log_end(leader).unwrap();
        let batch = hand.next("met");
        hand.begin(&batch).await;
        let mut told = None;
        if way.acks == Acks::All && way.retries {
            let sign = Sign::Code(ErrorCode::NotEnoughReplicas);
            assert_eq!(hand.end(|| false).await, Answer::Sign(sign), "{way}");
            run.saw(sign);
            // The leader dies with it.
            hand.begin(&batch).await;
            assert_eq!(hand.end(|| false).await, Answer::Sign(sign), "{way}");
        } else if way.acks == Acks::All || !way.waits_for_all() {
            told = Some(hand.pursue(&scene, &batch, &mut run).await);
        }
        if way.acks != Acks::All {
            scene.until_appended(leader, end + 1).await;
        }
        if !way.waits_for_all() {
            run.endangers(["met"]);
        }
        scene.node(leader).kill().await;
        assert_ne!(scene.leader().await, leader, "{way}: one that stayed eligible leads");
        scene.heal(leader);
        let told = match (told, way.acks) {
            (Some(told), _) => told,
            (None, Acks::All) => {
                scene.until_in_sync(ALL - 1).await;
                hand.reconnect(&scene).await;
                hand.deliver(&scene, &batch, &mut run).await
            }
            (None, _) => hand.pursue(&scene, &batch, &mut run).await,
        };
        run.met("met", told);
        scene.node(leader).start().await.unwrap();
        scene.until_in_sync(ALL).await;
        goes_on(&scene, way, &mut run).await;
        run
    })
    .await;
}

#[tokio::test]
async fn row_7_the_only_replica_in_sync_is_killed() {
    plays("7", &[()], async |row, way, ()| {
        let (scene, mut run, mut hand, leader) = replicated(row, way, LAG).await;
        scene.leave_alone(leader).await;
        hand.meets(&scene, "met", &mut run).await;
        run.read(scene.until_readable("met").await);
        scene.node(leader).kill().await;
        until_leaderless(&scene).await;
        scene.heal(leader);
        scene.node(leader).start().await.unwrap();
        assert_eq!(scene.leader().await, leader, "{way}: nobody else is known to have everything");
        assert_eq!(scene.until_readable("met").await, ["before", "met"], "{way}");
        goes_on(&scene, way, &mut run).await;
        scene.until_in_sync(ALL).await;
        run
    })
    .await;
}

#[tokio::test]
async fn row_8_the_only_replica_in_sync_is_killed_and_another_is_elected_uncleanly() {
    plays("8", &[()], async |row, way, ()| {
        let (scene, mut run, mut hand, leader) = replicated(row, way, LAG_AND_UNCLEAN).await;
        scene.leave_alone(leader).await;
        hand.meets(&scene, "met", &mut run).await;
        run.read(scene.until_readable("met").await);
        run.endangers(["met"]);
        scene.node(leader).kill().await;
        let next = scene.leader().await;
        assert_ne!(next, leader, "{way}: one out of sync leads");
        let told = scene.server().cluster.unclean_elections();
        let told: Vec<_> = told.iter().map(|told| (told.leader, told.last_leader)).collect();
        let expected = (scene.node(next).id(), Some(scene.node(leader).id()));
        assert_eq!(told, [expected], "{way}: what may be lost is told");
        scene.heal(leader);
        goes_on(&scene, way, &mut run).await;
        let values = scene.readable().await;
        scene.node(leader).start().await.unwrap();
        scene.until_in_sync(ALL).await;
        assert_eq!(scene.readable().await, values, "{way}: the old leader brings nothing back");
        for other in scene.others(leader) {
            scene.node(other).kill().await;
        }
        assert_eq!(scene.leader().await, leader, "{way}: it is the last");
        assert_eq!(scene.readable().await, values, "{way}: nor when it leads again");
        run
    })
    .await;
}

/// Until those that live say that nobody leads.
pub(crate) async fn until_leaderless(scene: &Scene) {
    until("nobody to lead", async || (scene.partition().await?.leader_id == -1).then_some(())).await;
}
