//! Rows about power that goes where there are three replicas: what no sync covered is gone from the disks.

use highwater::faults::{Fault, Step};
use highwater_tests::batches::batch;
use highwater_tests::guarantees::judge::Run;
use highwater_tests::guarantees::scene::{Hand, Scene, TOPIC};
use highwater_tests::guarantees::words::{Acks, Mode};
use highwater_tests::guarantees::{Row, TABLE, Way};

use crate::failover::{WAY, parked};
use crate::in_sync::{replicated, until_leaderless};
use crate::replicas::{Ends, before_replication};
use crate::{goes_on, plays};

const TAIL: [&str; 3] = ["a", "b", "c"];

/// Readers see only what is synced, and here it is not.
fn is_never_seen(way: Way, mode: &[Mode]) -> bool {
    way.acks == Acks::None && mode.contains(&way.mode)
}

/// The leader has the record and syncs it, the followers have it and their syncs are held: nobody is told of it, and nobody reads
/// it, before those are done.
async fn waits_for_their_syncs(scene: &Scene, hand: &mut Hand, value: &str, leader: usize, run: &mut Run) {
    scene.others(leader).for_each(|follower| scene.pause(follower));
    let before = scene.log_end(leader).unwrap();
    // The leader's sync, which is let go at once, tells the others' from it.
    scene.strike(Step::Sync, Fault::Hold, 1);
    let batch = hand.next(value);
    hand.begin(&batch).await;
    scene.struck().await;
    scene.strike(Step::Sync, Fault::Hold, 2);
    scene.server().cluster.release_held();
    scene.others(leader).for_each(|follower| scene.resume(follower));
    scene.struck().await;
    for follower in scene.others(leader) {
        scene.until_appended(follower, before + 1).await;
    }
    is_not_told(scene, value, leader).await;
    scene.server().cluster.release_held();
    let told = hand.pursue(scene, &batch, run).await;
    run.met(value, told);
}

/// The same of a leader that is alone in sync, and of its own sync.
async fn waits_for_its_sync(scene: &Scene, hand: &mut Hand, value: &str, leader: usize, run: &mut Run) {
    let before = scene.log_end(leader).unwrap();
    scene.strike(Step::Sync, Fault::Hold, 1);
    let batch = hand.next(value);
    hand.begin(&batch).await;
    scene.struck().await;
    scene.until_appended(leader, before + 1).await;
    is_not_told(scene, value, leader).await;
    scene.server().cluster.release_held();
    let told = hand.pursue(scene, &batch, run).await;
    run.met(value, told);
}

/// Who reads meanwhile, again and again, does not find it, and its producer hears nothing.
async fn is_not_told(scene: &Scene, value: &str, leader: usize) {
    const LOOKS: usize = 20;
    for _ in 0..LOOKS {
        assert!(!scene.readable().await.contains(&value.to_owned()), "{value} is read before it is synced");
        assert_eq!(parked(scene, leader), 1, "{value} is answered before it is synced");
    }
}

/// The old leader stays away. With acks=0 nobody waits for the others' syncs: the power goes before those.
#[tokio::test]
async fn row_10b_the_power_goes_for_all_replicas_and_another_one_leads_next() {
    plays("10b", &[()], async |row: &Row, way: Way, ()| {
        let (scene, mut run, mut hand, _) = replicated(row, way, &[]).await;
        scene.sync_all().await;
        let leader = scene.leader().await;
        hand.reconnect(&scene).await;
        let is_too_early = is_never_seen(way, &[Mode::Isr]);
        if is_too_early {
            scene.others(leader).for_each(|follower| scene.pause(follower));
        }
        let end = scene.log_end(leader).unwrap();
        let is_awaited = way.mode == Mode::Isr && way.acks != Acks::None;
        for value in TAIL {
            if is_awaited && value == TAIL[0] {
                waits_for_their_syncs(&scene, &mut hand, value, leader, &mut run).await;
            } else {
                hand.meets(&scene, value, &mut run).await;
            }
        }
        scene.until_appended(leader, end + 3).await;
        run.endangers(TAIL);
        if is_too_early {
            run.read(scene.readable().await);
        } else {
            run.read(scene.until_readable("c").await);
        }
        // All at once: nobody does anything between the first loss and the last.
        (0..3).for_each(|place| scene.pause(place));
        for place in [leader].into_iter().chain(scene.others(leader)) {
            scene.node(place).power_off(None).await.unwrap();
        }
        for place in scene.others(leader) {
            scene.node(place).start().await.unwrap();
            scene.resume(place);
        }
        assert_ne!(scene.leader().await, leader, "{way}: another one leads");
        scene.until_in_sync(2).await;
        goes_on(&scene, way, &mut run).await;
        run
    })
    .await;
}

#[tokio::test]
async fn row_11a_the_power_goes_for_the_leader_alone() {
    plays("11a", &[()], async |row: &Row, way: Way, ()| {
        before_replication(&Scene::in_memory(row, way, &[]).await, way, Ends::WithoutPower).await
    })
    .await;
}

/// With acks=0 nobody waits for the sync: the power goes before it ends.
#[tokio::test]
async fn row_11b_the_power_goes_for_the_only_replica_in_sync() {
    plays("11b", &[()], async |row: &Row, way: Way, ()| {
        let (scene, mut run, mut hand, _) = replicated(row, way, &[("replica.lag.time.max.ms", "400")]).await;
        scene.sync_all().await;
        let leader = scene.leader().await;
        hand.reconnect(&scene).await;
        scene.leave_alone(leader).await;
        let end = scene.log_end(leader).unwrap();
        let is_too_early = is_never_seen(way, &[Mode::Leader, Mode::Isr]);
        if is_too_early {
            scene.strike(Step::Sync, Fault::Hold, 1);
        }
        let is_awaited = way.mode != Mode::None && way.acks != Acks::None;
        for value in TAIL {
            if is_awaited && value == TAIL[0] {
                waits_for_its_sync(&scene, &mut hand, value, leader, &mut run).await;
            } else {
                hand.meets(&scene, value, &mut run).await;
            }
        }
        scene.until_appended(leader, end + 3).await;
        run.endangers(TAIL);
        if is_too_early {
            scene.struck().await;
            run.read(scene.readable().await);
        } else {
            run.read(scene.until_readable("c").await);
        }
        scene.node(leader).power_off(None).await.unwrap();
        until_leaderless(&scene).await;
        scene.heal(leader);
        scene.node(leader).start().await.unwrap();
        assert_eq!(scene.leader().await, leader, "{way}: nobody else is known to have more");
        goes_on(&scene, way, &mut run).await;
        scene.until_in_sync(3).await;
        run
    })
    .await;
}

/// A replica that lost its power leads nothing, though it was in sync, before the one that has everything is back (KIP-966).
#[tokio::test]
async fn who_lost_its_power_waits_for_who_has_everything() {
    let scene = Scene::in_memory(TABLE.row("3"), WAY, &[]).await;
    let mut connection = scene.connect().await;
    for value in ["a", "b"] {
        connection.append(TOPIC, batch(&[value])).await;
    }
    let leader = scene.leader().await;
    let others: Vec<_> = scene.others(leader).collect();
    scene.node(others[1]).kill().await;
    scene.until_in_sync(2).await;
    scene.connect().await.append(TOPIC, batch(&["c"])).await;
    scene.node(others[0]).power_off(None).await.unwrap();
    scene.until_in_sync(1).await;
    // The last to have everything that is committed, and it is eligible still.
    scene.node(leader).kill().await;
    scene.node(others[0]).start().await.unwrap();
    until_leaderless(&scene).await;
    scene.node(others[1]).start().await.unwrap();
    until_leaderless(&scene).await;
    scene.node(leader).start().await.unwrap();
    assert_eq!(scene.leader().await, leader);
    scene.until_in_sync(3).await;
    assert_eq!(scene.values().await, ["a", "b", "c"]);
}
