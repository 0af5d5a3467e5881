//! Rows about what the network and the process lose: answers, requests, connections.

use highwater::faults::{Api, Fault, Step};
use highwater_protocol::ErrorCode;
use highwater_tests::batches::batch;
use highwater_tests::guarantees::judge::Run;
use highwater_tests::guarantees::scene::{Answer, Hand, Scene, TOPIC};
use highwater_tests::guarantees::words::{Acks, Sign, Told};
use highwater_tests::guarantees::{Row, Way};
use highwater_tests::requests::{PRODUCE, produce};

use crate::{goes_on, one_batch_meets, plays};

const REQUEST: Step = Step::Request(Api::Produce);
const REPLY: Step = Step::Reply(Api::Produce);
/// A message is lost on its way, or the connection breaks in place of it.
const LOST: [Fault; 2] = [Fault::Lose, Fault::Cut];

#[tokio::test]
async fn row_1_the_acknowledgement_is_lost() {
    plays("1", &LOST, async |row, way, fault| {
        if way.acks == Acks::None {
            return nothing_to_lose(row, way).await;
        }
        let mut run = one_batch_meets(row, way, REPLY, fault).await;
        run.lost_answers(1);
        run
    })
    .await;
}

/// With acks=0 there is no acknowledgement.
async fn nothing_to_lose(row: &Row, way: Way) -> Run {
    let scene = Scene::of(row, way).await;
    let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
    scene.strike(REPLY, Fault::Lose, 1);
    hand.meets(&scene, "met", &mut run).await;
    assert!(!scene.server().cluster.faults().is_spent(), "acks=0 was answered");
    // The fault is for somebody else, who finds its record stored.
    let mut other = scene.connect().await;
    let last = produce(TOPIC, 0, -1, batch(&["after"]));
    other.send(&last, PRODUCE).await;
    scene.struck().await;
    run.sent("after", Told::Acknowledged);
    run.stored(scene.values().await);
    run
}

#[tokio::test]
async fn row_2_the_request_is_lost_before_the_append() {
    plays("2", &LOST, async |row, way, fault| one_batch_meets(row, way, REQUEST, fault).await).await;
}

/// The answer is held back until the process is dead.
#[tokio::test]
async fn row_9_the_whole_process_is_killed() {
    plays("9", &[()], async |row, way, ()| {
        let mut scene = Scene::of(row, way).await;
        let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
        hand.sends(&scene, "before", &mut run).await;
        if way.acks == Acks::None {
            // So that "before" was read, and "met" may be or not.
            scene.values().await;
        } else {
            scene.strike(REPLY, Fault::Hold, 1);
        }
        let batch = hand.next("met");
        hand.begin(&batch).await;
        if way.acks == Acks::None {
            run.endangers(["met"]);
        } else {
            scene.struck().await;
            run.lost_answers(1);
        }
        scene.kill();
        let ended = hand.end(|| false).await;
        assert_eq!(ended, Answer::Sign(Sign::Disconnect), "{way}");
        run.saw(Sign::Disconnect);
        scene.start().await;
        let told = match (way.acks, way.retries) {
            (Acks::None, _) => Told::Sent,
            (_, false) => Told::Unknown,
            (_, true) => {
                hand.reconnect(&scene).await;
                hand.deliver(&scene, &batch, &mut run).await
            }
        };
        run.met("met", told);
        goes_on(&scene, way, &mut run).await;
        run
    })
    .await;
}

/// Either direction may be the one that carries nothing any more.
#[tokio::test]
async fn row_20_the_connection_is_half_open() {
    plays("20", &[REQUEST, REPLY], async |row, way, step| {
        if way.acks != Acks::None {
            return one_batch_meets(row, way, step, Fault::Lose).await;
        }
        let scene = Scene::of(row, way).await;
        let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
        hand.sends(&scene, "before", &mut run).await;
        scene.strike(REQUEST, Fault::Lose, 3);
        for value in ["a", "b", "c"] {
            let batch = hand.next(value);
            hand.begin(&batch).await;
            run.met(value, Told::Sent);
        }
        run.endangers(["a", "b", "c"]);
        scene.struck().await;
        goes_on(&scene, way, &mut run).await;
        run
    })
    .await;
}

/// Two batches are in flight on a connection each; the first one's request is lost.
async fn second_before_first(row: &Row, way: Way, is_known: bool) -> Run {
    let scene = Scene::of(row, way).await;
    let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
    if is_known {
        hand.sends(&scene, "before", &mut run).await;
    }
    let (first, second) = (hand.next("first"), hand.next("second"));
    scene.strike(REQUEST, Fault::Lose, 1);
    hand.begin(&first).await;
    scene.struck().await;
    if way.acks == Acks::None {
        run.met("first", Told::Sent);
        hand.reconnect(&scene).await;
        let told = hand.deliver(&scene, &second, &mut run).await;
        // Where sequences are known, the gap takes the second batch with it.
        if way.idempotence && is_known {
            run.met("second", told)
        } else {
            run.sent("second", told)
        }
        goes_on(&scene, way, &mut run).await;
        return run;
    }
    run.saw(Sign::Silence);
    hand.reconnect(&scene).await;
    hand.begin(&second).await;
    let mut again = vec![&first];
    match hand.end(|| false).await {
        Answer::Stored(_) => {}
        Answer::Sign(sign) => {
            run.saw(sign);
            again.push(&second);
        }
    }
    // In order, as the producer has them.
    for batch in again {
        hand.begin(batch).await;
        if let Answer::Sign(sign) = hand.end(|| false).await {
            run.saw(sign);
            assert_eq!(sign, Sign::Code(ErrorCode::OutOfOrderSequenceNumber), "{way}");
            // Nothing can fill that gap: what is left goes on under a new epoch (KIP-360).
            let identity = hand.identity().expect("a producer with sequences");
            *identity = identity.bumped();
            let renumbered = identity.batch(0, "first");
            hand.begin(&renumbered).await;
            assert!(matches!(hand.end(|| false).await, Answer::Stored(_)), "{way}");
        }
    }
    run.met("first", Told::Acknowledged);
    run.met("second", Told::Acknowledged);
    goes_on(&scene, way, &mut run).await;
    run
}

#[tokio::test]
async fn row_21a_a_later_batch_comes_before_an_earlier_one() {
    plays("21a", &[()], async |row, way, ()| second_before_first(row, way, true).await).await;
}

#[tokio::test]
async fn row_21b_a_producers_second_batch_ever_comes_before_its_first() {
    plays("21b", &[()], async |row, way, ()| second_before_first(row, way, false).await).await;
}

#[tokio::test]
async fn row_u3_several_in_flight_without_idempotence_change_places() {
    plays("U3", &[()], async |row, way, ()| second_before_first(row, way, true).await).await;
}

/// Behind each other on one connection, or on two.
#[tokio::test]
async fn row_22_the_network_delivers_a_request_twice() {
    plays("22", &[false, true], async |row, way, on_another| {
        let scene = Scene::of(row, way).await;
        let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
        let batch = hand.next("met");
        let told = hand.deliver(&scene, &batch, &mut run).await;
        if on_another {
            hand.reconnect(&scene).await;
        }
        hand.begin(&batch).await;
        match (hand.end(|| false).await, way.acks) {
            (Answer::Sign(Sign::Silence), Acks::None) => {}
            (Answer::Stored(offset), _) => assert_eq!(offset, i64::from(!way.idempotence), "{way}"),
            (other, _) => panic!("{way}: {other:?}"),
        }
        run.met("met", told);
        goes_on(&scene, way, &mut run).await;
        run
    })
    .await;
}

#[tokio::test]
async fn row_23a_a_producer_of_an_old_epoch_writes() {
    plays("23a", &[()], async |row, way, ()| zombie(row, way, true).await).await;
}

#[tokio::test]
async fn row_23b_a_producer_of_an_old_epoch_writes_where_the_new_one_is_not_known() {
    plays("23b", &[()], async |row, way, ()| zombie(row, way, false).await).await;
}

/// The same producer under two epochs; the later one has written to the partition, or not yet.
async fn zombie(row: &Row, way: Way, is_known: bool) -> Run {
    let scene = Scene::of(row, way).await;
    let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
    hand.sends(&scene, "before", &mut run).await;
    let old = hand.next("met");
    if is_known {
        let newer = hand.identity().expect("a producer with sequences").bumped().batch(0, "newer");
        let told = hand.deliver(&scene, &newer, &mut run).await;
        run.sent("newer", told);
    }
    let told = hand.deliver(&scene, &old, &mut run).await;
    run.met("met", told);
    goes_on(&scene, way, &mut run).await;
    run
}
