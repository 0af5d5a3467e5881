//! Histories in which logs part and are to become one again (KIP-101, KIP-279, KIP-320): after each the replicas' files are the
//! same to the byte.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use highwater_protocol::ErrorCode;
use highwater_protocol::messages::OffsetForLeaderEpochRequest;
use highwater_protocol::messages::offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use highwater_tests::batches::{batch, headers_in, whole_batches};
use highwater_tests::connection::{Connection, until};
use highwater_tests::guarantees::scene::{Scene, TOPIC};
use highwater_tests::guarantees::words::{Acks, Mode};
use highwater_tests::guarantees::{TABLE, Way};
use highwater_tests::requests::{FETCH, fetch, fetched};

const WAY: Way = Way { acks: Acks::All, idempotence: false, retries: true, mode: Mode::None };
const NODES: usize = 3;

/// Three nodes in a folder, and "before" on all of them; who leads.
async fn begun(settings: &[(&'static str, &'static str)]) -> (Scene, usize) {
    let scene = Scene::with(TABLE.row("3"), WAY, settings).await;
    append(&scene, "before").await;
    assert_eq!(scene.values().await, ["before"]);
    let leader = scene.leader().await;
    (scene, leader)
}

/// Everyone in sync has it.
async fn append(scene: &Scene, value: &str) {
    let mut connection = scene.connect().await;
    let done = connection.produce(TOPIC, batch(&[value])).await;
    assert_eq!(done.error_code, ErrorCode::None);
}

/// The leader has these, and nobody else.
async fn append_alone(scene: &Scene, leader: usize, values: &[&str]) {
    for follower in scene.others(leader).filter(|node| scene.node(*node).is_alive()) {
        scene.pause(follower);
    }
    // What fetches wait for is this one.
    scene.spacer(leader).await;
    for value in values {
        scene.append_unheard(leader, value).await;
    }
}

async fn kill(scene: &Scene, leader: usize) {
    scene.node(leader).kill().await;
    for other in scene.others(leader).filter(|node| scene.node(*node).is_alive()) {
        scene.resume(other);
    }
}

/// What a log's files hold, batch by batch.
pub(crate) fn batches_of(folder: &Path) -> Vec<Bytes> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|is| is == "log")).collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| whole_batches(&Bytes::from(fs::read(file).unwrap())).collect::<Vec<_>>())
        .collect()
}

/// All are in sync, everything is committed, and every replica has the same bytes; gives what can be read.
async fn are_one(scene: &Scene) -> Vec<String> {
    scene.until_in_sync(NODES).await;
    let values = scene.values().await;
    let leader = scene.leader().await;
    let end = scene.log_end(leader).unwrap();
    for place in 0..NODES {
        scene.until_appended(place, end).await;
    }
    let log = |place| batches_of(&scene.folder().join(format!("node-{place}/{TOPIC}-0")));
    let first = log(0);
    assert!(!first.is_empty(), "no files");
    let last = headers_in(first.last().unwrap()).pop().unwrap();
    assert_eq!(last.last_offset().get() + 1, end, "the files are not the log");
    for place in 1..NODES {
        assert!(log(place) == first, "the logs of node 0 and {place} differ");
    }
    values
}

/// KIP-101: a replica whose high watermark lags is not cut to it. A follower begins anew right after it was told of nothing
/// yet, and leads at once.
#[tokio::test]
async fn who_begins_anew_keeps_what_is_committed_though_nobody_told_it_that_it_is() {
    let (scene, leader) = begun(&[]).await;
    let follower = scene.others(leader).next().unwrap();
    for round in 0..5 {
        append(&scene, &format!("committed {round}")).await;
        scene.node(follower).kill().await;
        scene.node(follower).start().await.unwrap();
        scene.until_in_sync(NODES).await;
        let leader = scene.leader().await;
        scene.node(leader).kill().await;
        assert_ne!(scene.leader().await, leader);
        let values = scene.values().await;
        assert_eq!(values.len(), 2 + round, "{values:?}");
        scene.node(leader).start().await.unwrap();
        assert_eq!(are_one(&scene).await, values);
    }
}

/// KIP-101 without a restart: a leader dies before it tells that a record is committed, the next one before the last replica hears
/// anything of it. That one is not cut to what it was told is committed.
#[tokio::test]
async fn who_follows_another_leader_keeps_what_is_committed_though_nobody_told_it_that_it_is() {
    let (scene, _) = begun(&[]).await;
    let mut expected = vec!["before".to_owned()];
    for round in 0..3 {
        let first = scene.leader().await;
        let rest: Vec<_> = scene.others(first).collect();
        scene.server().cluster.cut(rest[0], rest[1]);
        let value = format!("committed {round}");
        append(&scene, &value).await;
        scene.node(first).kill().await;
        let second = scene.leader().await;
        let last = rest.into_iter().find(|place| *place != second).unwrap();
        let leader_id = i32::try_from(second).unwrap();
        until("the last one to follow", async || {
            let told = scene.partition_as_told_by(last).await?;
            (told.leader_id == leader_id).then_some(())
        })
        .await;
        scene.node(second).kill().await;
        assert_eq!(scene.leader().await, last);
        scene.server().cluster.heal(second, last);
        for place in [first, second] {
            scene.node(place).start().await.unwrap();
        }
        expected.push(value);
        assert_eq!(are_one(&scene).await, expected, "round {round}");
    }
}

/// The other half of KIP-101: two replicas that wrote different records at the same offsets.
#[tokio::test]
async fn who_comes_back_with_a_longer_log_has_the_same_one_again() {
    let (scene, leader) = begun(&[]).await;
    append_alone(&scene, leader, &["gone", "gone", "gone", "gone"]).await;
    kill(&scene, leader).await;
    append(&scene, "instead").await;
    let next = scene.leader().await;
    scene.node(leader).start().await.unwrap();
    assert_eq!(are_one(&scene).await, ["before", "instead"]);
    assert_eq!(scene.leader().await, next, "who leads goes on");
}

/// KIP-279: leaders follow each other faster than anyone can catch up. Each leaves a tail of its own at the same offsets.
#[tokio::test]
async fn logs_that_parted_in_several_epochs_become_one() {
    let (scene, first) = begun(&[]).await;
    append_alone(&scene, first, &["gone 1", "gone 2", "gone 3"]).await;
    kill(&scene, first).await;
    let second = scene.leader().await;
    append_alone(&scene, second, &["gone 4", "gone 5"]).await;
    kill(&scene, second).await;
    let third = scene.leader().await;
    assert!(third != first && third != second);
    scene.append_unheard(third, "kept").await;
    scene.node(first).start().await.unwrap();
    scene.node(second).start().await.unwrap();
    assert_eq!(are_one(&scene).await, ["before", "kept"]);
}

/// The same two fail over and over, with tails and without, and come back in between.
#[tokio::test]
async fn epochs_without_a_record_part_no_logs() {
    let (scene, _) = begun(&[]).await;
    let mut expected = vec!["before".to_owned()];
    for round in 0..6 {
        let leader = scene.leader().await;
        if round % 3 == 2 {
            append_alone(&scene, leader, &["gone"]).await;
        }
        kill(&scene, leader).await;
        // An epoch, or two, in which nobody writes. It is an epoch all the same.
        let next = scene.leader().await;
        let (epoch, end) = (scene.partition().await.unwrap().leader_epoch, scene.log_end(next).unwrap());
        let mut connection = Connection::open(scene.address(next)).await;
        assert_eq!(end_of_epoch(&mut connection, epoch).await, (epoch, end), "round {round}");
        if round % 2 == 1 {
            scene.node(leader).start().await.unwrap();
            scene.until_in_sync(NODES).await;
            kill(&scene, next).await;
            scene.leader().await;
            scene.node(next).start().await.unwrap();
        } else {
            scene.node(leader).start().await.unwrap();
        }
        scene.until_in_sync(NODES).await;
        let value = format!("kept {round}");
        append(&scene, &value).await;
        expected.push(value);
        assert_eq!(are_one(&scene).await, expected, "round {round}");
    }
}

/// The latest epoch a leader knows up to this one, and where that ends.
async fn end_of_epoch(connection: &mut Connection, leader_epoch: i32) -> (i32, i64) {
    let partition = OffsetForLeaderPartition { partition: 0, current_leader_epoch: -1, leader_epoch };
    let topic = OffsetForLeaderTopic { topic: TOPIC.into(), partitions: vec![partition] };
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] };
    let end = connection.ask(&request, 4).await.topics.remove(0).partitions.remove(0);
    assert_eq!(end.error_code, ErrorCode::None);
    (end.leader_epoch, end.end_offset)
}

/// KIP-320: who read what an unclean election took back is told so in its next fetch, and where to go on.
#[tokio::test]
async fn a_consumer_behind_a_truncation_is_told_where_its_log_ends() {
    let settings = [("replica.lag.time.max.ms", "400"), ("unclean.leader.election.enable", "true")];
    // One replica in sync is enough.
    let scene = Scene::with(TABLE.row("8"), WAY, &settings).await;
    append(&scene, "before").await;
    scene.values().await;
    let leader = scene.leader().await;
    let common = scene.log_end(leader).unwrap();
    scene.leave_alone(leader).await;
    append(&scene, "read and lost").await;
    scene.until_readable("read and lost").await;
    let (read_to, epoch) = (scene.log_end(leader).unwrap(), scene.partition().await.unwrap().leader_epoch);
    scene.node(leader).kill().await;
    let next = scene.leader().await;
    assert_ne!(next, leader);
    scene.heal(leader);
    let told = scene.server().cluster.unclean_elections();
    let election = told.last().expect("an unclean election is told");
    assert_eq!((election.leader.0, election.name.as_str()), (i32::try_from(next).unwrap(), TOPIC));
    assert_eq!((election.epoch.get(), election.lost_from.map(|at| at.get())), (epoch + 1, Some(common)));

    let mut connection = scene.connect().await;
    // Where the epoch ended that it read in: from there on all is lost.
    assert_eq!(end_of_epoch(&mut connection, epoch).await, (epoch, common));
    for grown in [false, true] {
        if grown {
            for _ in common..read_to {
                append(&scene, "instead").await;
            }
        }
        // Who says nothing of epochs is told at least while the log is shorter.
        let beyond = connection.fetch(TOPIC, read_to).await.error_code;
        assert_eq!(beyond, if grown { ErrorCode::None } else { ErrorCode::OffsetOutOfRange });
        // Whether the log is longer again by then or not.
        let mut request = fetch(TOPIC, 0, read_to);
        request.topics[0].partitions[0].last_fetched_epoch = epoch;
        let part = fetched(connection.ask(&request, FETCH).await);
        assert_eq!(part.error_code, ErrorCode::None, "grown: {grown}");
        let diverging = (part.diverging_epoch.epoch, part.diverging_epoch.end_offset);
        assert_eq!(diverging, (epoch, common), "grown: {grown}");
        assert!(part.records.unwrap_or_default().is_empty());
    }
    scene.node(leader).start().await.unwrap();
    let values = are_one(&scene).await;
    assert!(!values.contains(&"read and lost".to_owned()), "{values:?}");
}

/// A reader at the end of what it was given stays there: a new leader that knows less of what is committed has it wait. One that was
/// told of it knows it at once.
#[tokio::test]
async fn a_reader_never_sees_the_high_watermark_go_back() {
    let (scene, _) = begun(&[]).await;
    for round in 0..6 {
        append(&scene, &format!("{round}")).await;
        let leader = scene.leader().await;
        let seen = scene.connect().await.fetch(TOPIC, 0).await.high_watermark;
        assert_eq!(seen, scene.log_end(leader).unwrap());
        let is_told = round % 2 == 0;
        if is_told {
            for follower in scene.others(leader) {
                until("the followers to be told", async || {
                    (scene.high_watermark(follower) == Some(seen)).then_some(())
                })
                .await;
            }
        }
        // Nobody tells the next leader what it may count as committed.
        let silent: Vec<_> = scene.others(leader).collect();
        scene.server().cluster.cut(silent[0], silent[1]);
        scene.node(leader).kill().await;
        let mut connection = scene.connect().await;
        let part = connection.fetch(TOPIC, seen).await;
        assert_eq!(part.error_code, ErrorCode::None, "round {round}: what was read is there");
        assert!(
            !is_told || part.high_watermark >= seen,
            "round {round}: {} after {seen}",
            part.high_watermark
        );
        let latest = connection.list_offset(TOPIC, -1, 6).await;
        match latest.error_code {
            ErrorCode::None => {
                assert!(latest.offset >= seen, "round {round}: {} after {seen}", latest.offset)
            }
            code => assert!(!is_told && code == ErrorCode::OffsetNotAvailable, "round {round}: {code}"),
        }
        scene.server().cluster.heal(silent[0], silent[1]);
        until("the high watermark", async || {
            (scene.connect().await.fetch(TOPIC, seen).await.high_watermark >= seen).then_some(())
        })
        .await;
        scene.node(leader).start().await.unwrap();
        are_one(&scene).await;
    }
}

/// A new leader shows nobody what it alone has from the one before: it may be lost with it yet.
#[tokio::test]
async fn what_not_everyone_in_sync_has_is_shown_by_nobody() {
    let (scene, first) = begun(&[]).await;
    let rest: Vec<_> = scene.others(first).collect();
    for other in [first, rest[0]] {
        scene.server().cluster.cut(other, rest[1]);
    }
    scene.append_unheard(first, "of two").await;
    scene.until_appended(rest[0], 3).await;
    scene.node(first).kill().await;
    let second = scene.leader().await;
    // Either may be chosen; where it is the one that lacks the record there is nothing to show.
    assert_eq!(scene.readable().await, ["before"]);
    scene.node(second).kill().await;
    let last = rest.into_iter().find(|place| *place != second).unwrap();
    assert_eq!(scene.leader().await, last);
    for place in [first, second] {
        scene.server().cluster.heal(place, last);
        scene.node(place).start().await.unwrap();
    }
    let values = are_one(&scene).await;
    assert!(values == ["before"] || values == ["before", "of two"], "{values:?}");
}
