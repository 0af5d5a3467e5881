//! Rows about what happens to one replica of three: killed, cut off, elected.

use highwater_tests::batches::batch;
use highwater_tests::guarantees::judge::Run;
use highwater_tests::guarantees::scene::{Hand, Scene, TOPIC};
use highwater_tests::guarantees::words::{Acks, Told};
use highwater_tests::guarantees::{Row, Way};
use highwater_tests::requests::{PRODUCE, produce, produced};

use crate::{goes_on, plays};

/// The followers are held still while the leader appends, and go on when it is dead.
#[tokio::test]
async fn row_3_the_leader_is_killed_before_replication() {
    plays("3", &[()], async |row: &Row, way: Way, ()| {
        let scene = Scene::of(row, way).await;
        let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
        hand.sends(&scene, "before", &mut run).await;
        // Everyone has it, and so no follower is asked for anything older.
        run.read(scene.values().await);
        let leader = scene.leader().await;
        let followers = [(leader + 1) % 3, (leader + 2) % 3];
        for follower in followers {
            scene.node(follower).pause();
        }
        // The leader answers the fetches that wait with this one; what comes behind it nobody has asked for yet.
        let mut other = scene.connect().await;
        let spacer = produce(TOPIC, 0, 1, batch(&["spacer"]));
        assert!(produced(other.ask(&spacer, PRODUCE).await).error_code.is_none());
        run.sent("spacer", Told::Acknowledged);
        hand.reconnect(&scene).await;
        let batch = hand.next("met");
        hand.begin(&batch).await;
        let told = match way.acks {
            Acks::All => None,
            _ => Some(hand.pursue(&scene, &batch, &mut run).await),
        };
        until_appended(&scene, leader, 4).await;
        scene.node(leader).kill().await;
        for follower in followers {
            scene.node(follower).resume();
        }
        let told = match told {
            Some(told) => told,
            None => hand.pursue(&scene, &batch, &mut run).await,
        };
        run.met("met", told);
        if way.acks != Acks::All {
            run.endangers(["met"]);
        }
        scene.node(leader).start().await.unwrap();
        goes_on(&scene, way, &mut run).await;
        run
    })
    .await;
}

/// Until the log of the node at this place ends there.
async fn until_appended(scene: &Scene, place: usize, end: i64) {
    highwater_tests::connection::until("the append", async || {
        let observed = scene.server().cluster.observe();
        let node = observed.into_iter().filter_map(|seen| seen.node).nth(place)?;
        let topic = node.topics.iter().find(|topic| topic.name.as_str() == "t")?;
        (topic.partitions[0].log?.positions.log_end.get() == end).then_some(())
    })
    .await;
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
