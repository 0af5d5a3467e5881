//! A partition's log fails on one node's disk, and others have it: on real files, in which something is in the way.

use std::path::PathBuf;

use highwater_protocol::ErrorCode;
use highwater_tests::batches::batch;
use highwater_tests::connection::{Connection, until};
use highwater_tests::guarantees::judge::Run;
use highwater_tests::guarantees::scene::{Hand, Scene, TOPIC};
use highwater_tests::guarantees::{Row, TABLE, Way};
use highwater_tests::requests::{PRODUCE, produce, produced};

use crate::failover::WAY;
use crate::{goes_on, plays};

/// What is appended to a segment of two batches needs a new file.
const SETTINGS: [(&str, &str); 2] = [("log.index.interval.bytes", "0"), ("log.index.size.max.bytes", "24")];

/// The partition's folder of a node.
fn folder(scene: &Scene, place: usize) -> PathBuf {
    scene.folder().join(format!("node-{place}")).join(format!("{TOPIC}-0"))
}

/// The next append of a node that needs a segment fails: where it would make one there is a folder.
fn obstruct(scene: &Scene, place: usize) {
    let end = scene.log_end(place).expect("a log");
    for offset in end..end + 10 {
        std::fs::create_dir(folder(scene, place).join(format!("{offset:020}.log"))).unwrap();
    }
}

async fn until_in_sync_without(scene: &Scene, place: usize) {
    let id = i32::try_from(place).unwrap();
    until("others in sync", async || {
        let isr = scene.partition().await?.isr_nodes;
        (!isr.contains(&id)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn row_15c_a_write_to_the_leaders_disk_fails_and_others_are_in_sync() {
    plays("15c", &[()], async |row: &Row, way: Way, ()| {
        let scene = Scene::with(row, way, &SETTINGS).await;
        let (mut run, mut hand) = (Run::default(), Hand::of(&scene).await);
        hand.sends(&scene, "before", &mut run).await;
        run.read(scene.values().await);
        let leader = scene.leader().await;
        hand.reconnect(&scene).await;
        obstruct(&scene, leader);
        hand.meets(&scene, "met", &mut run).await;
        until_in_sync_without(&scene, leader).await;
        assert_ne!(scene.leader().await, leader, "{way}: another one leads");
        goes_on(&scene, way, &mut run).await;
        // What it knows of the failed write it knows no more; nothing is in the way any more.
        scene.node(leader).kill().await;
        for file in std::fs::read_dir(folder(&scene, leader)).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_dir() {
                std::fs::remove_dir(file.path()).unwrap();
            }
        }
        scene.node(leader).start().await.unwrap();
        scene.until_in_sync(3).await;
        run
    })
    .await;
}

/// Nobody waits for a follower that cannot write, and it does not pass for one that is in sync.
#[tokio::test]
async fn a_follower_whose_log_fails_keeps_nobody_waiting() {
    let scene = Scene::with(TABLE.row("15c"), WAY, &SETTINGS).await;
    let mut connection = scene.connect().await;
    let append = async |connection: &mut Connection, value: &str| {
        produced(connection.ask(&produce(TOPIC, 0, -1, batch(&[value])), PRODUCE).await).error_code
    };
    assert_eq!(append(&mut connection, "before").await, ErrorCode::None);
    scene.until_in_sync(3).await;
    let follower = scene.others(scene.leader().await).last().unwrap();
    let end = scene.log_end(scene.leader().await);
    until("the follower", async || (scene.log_end(follower) == end).then_some(())).await;
    obstruct(&scene, follower);
    // Some of these it takes yet.
    let values = ["a", "b", "c", "d", "e", "f"];
    for value in values {
        assert_eq!(append(&mut connection, value).await, ErrorCode::None, "{value}");
    }
    until_in_sync_without(&scene, follower).await;
    assert!(scene.log_end(follower) < scene.log_end(scene.leader().await));
    assert_eq!(scene.readable().await[1..], values);
}

#[tokio::test]
async fn who_cannot_open_its_log_does_not_lead_with_it() {
    let mut scene = Scene::with(TABLE.row("15c"), WAY, &[]).await;
    let mut connection = scene.connect().await;
    assert_eq!(connection.append(TOPIC, batch(&["before"])).await, 0);
    scene.values().await;
    let leader = scene.leader().await;
    scene.stop().await;
    let segment = folder(&scene, leader).join(format!("{:020}.log", 0));
    std::fs::remove_file(&segment).unwrap();
    std::fs::create_dir(&segment).unwrap();
    scene.start().await;
    until_in_sync_without(&scene, leader).await;
    assert_ne!(scene.leader().await, leader);
    assert_eq!(scene.values().await, ["before"]);
}
