//! Rows about a leader of three replicas that is killed.

use highwater_tests::guarantees::judge::Run;
use highwater_tests::guarantees::scene::{Hand, Scene};
use highwater_tests::guarantees::words::Acks;
use highwater_tests::guarantees::{Row, Way};

use crate::{goes_on, plays};

/// How the leader ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Killed,
    WithoutPower,
}

#[tokio::test]
async fn row_3_the_leader_is_killed_before_replication() {
    plays("3", &[()], async |row: &Row, way: Way, ()| {
        before_replication(&Scene::of(row, way).await, way, Ends::Killed).await
    })
    .await;
}

/// The followers are held still while the leader appends, and go on when it is dead.
pub(crate) async fn before_replication(scene: &Scene, way: Way, ends: Ends) -> Run {
    let (mut run, mut hand) = (Run::default(), Hand::of(scene).await);
    hand.sends(scene, "before", &mut run).await;
    // Everyone has it, and so no follower is asked for anything older.
    run.read(scene.values().await);
    let leader = scene.leader().await;
    hand.reconnect(scene).await;
    scene.others(leader).for_each(|follower| scene.pause(follower));
    // The leader answers the fetches that wait with this one; what comes behind it nobody has asked for yet.
    scene.spacer(leader).await;
    let end = scene.log_end(leader).expect("a log");
    let batch = hand.next("met");
    hand.begin(&batch).await;
    let told = if way.waits_for_all() { None } else { Some(hand.pursue(scene, &batch, &mut run).await) };
    scene.until_appended(leader, end + 1).await;
    match ends {
        Ends::Killed => scene.node(leader).kill().await,
        Ends::WithoutPower => scene.node(leader).power_off(None).await.unwrap(),
    }
    scene.others(leader).for_each(|follower| scene.resume(follower));
    let told = match told {
        Some(told) => told,
        None => hand.pursue(scene, &batch, &mut run).await,
    };
    run.met("met", told);
    if !way.waits_for_all() {
        run.endangers(["met"]);
    }
    assert_ne!(scene.leader().await, leader, "{way}: another one leads");
    scene.node(leader).start().await.unwrap();
    goes_on(scene, way, &mut run).await;
    scene.until_in_sync(3).await;
    run
}

/// The answer is held when everyone has the batch, and the leader dies with it.
#[tokio::test]
async fn row_4_the_leader_is_killed_after_replication() {
    plays("4", &[()], async |row: &Row, way: Way, ()| {
        use highwater::faults::{Api, Fault, Step};
        let scene = Scene::of(row, way).await;
        let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
        hand.sends(&scene, "before", &mut run).await;
        run.read(scene.values().await);
        let leader = scene.leader().await;
        hand.reconnect(&scene).await;
        let batch = hand.next("met");
        let told = if way.acks == Acks::All {
            scene.strike(Step::Reply(Api::Produce), Fault::Hold, 1);
            hand.begin(&batch).await;
            scene.struck().await;
            run.lost_answers(1);
            None
        } else {
            let told = hand.deliver(&scene, &batch, &mut run).await;
            // Another's record behind it is acknowledged by all: so is this.
            run.read(scene.values().await);
            Some(told)
        };
        scene.node(leader).kill().await;
        let told = match told {
            Some(told) => told,
            None => hand.pursue(&scene, &batch, &mut run).await,
        };
        run.met("met", told);
        scene.node(leader).start().await.unwrap();
        goes_on(&scene, way, &mut run).await;
        run
    })
    .await;
}
