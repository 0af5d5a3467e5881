//! Finding offsets: by time, at the ends of a log, and where leader epochs ended (semantics, sections 4.4 and 5.3).

use highwater_protocol::messages::list_offsets::ListOffsetsPartitionResponse;
use highwater_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use highwater_protocol::messages::{MetadataRequest, OffsetForLeaderEpochRequest};
use highwater_tests::batches::{batch, batch_at_times, headers_in};
use highwater_tests::connection::Connection;
use highwater_tests::requests::{FETCH, fetch, fetched};
use highwater_tests::server::{Home, Server};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// An hour of some day, from which the records below count.
const HOUR: i64 = 1_700_000_000_000;

fn place(found: &ListOffsetsPartitionResponse) -> (i16, i64, i64) {
    (found.error_code.code(), found.offset, found.timestamp)
}

#[tokio::test]
async fn every_special_time_is_known_from_its_version_on() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    connection.append("t", batch_at_times(&[HOUR, HOUR + 20, HOUR + 10])).await;
    connection.append("t", batch_at_times(&[HOUR + 5])).await;
    for version in 1..=11 {
        for (time, since, expected) in [
            (LATEST, 1, (0, 4, -1)),
            (EARLIEST, 1, (0, 0, -1)),
            (MAX_TIMESTAMP, 7, (0, 1, HOUR + 20)),
            (EARLIEST_LOCAL, 8, (0, 0, -1)),
            (LATEST_TIERED, 9, (0, -1, -1)),
            (EARLIEST_PENDING_UPLOAD, 11, (0, -1, -1)),
            (-7, i16::MAX, (0, 0, 0)),
            (i64::MIN, i16::MAX, (0, 0, 0)),
        ] {
            let found = connection.list_offset("t", time, version).await;
            let expected = if version >= since { expected } else { (35, -1, -1) };
            assert_eq!(place(&found), expected, "time {time} at version {version}");
        }
        let found = connection.list_offset("t", HOUR + 1, version).await;
        assert_eq!(place(&found), (0, 1, HOUR + 20));
    }
}

#[tokio::test]
async fn an_empty_log_begins_and_ends_at_zero_and_has_no_largest_time() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    assert_eq!(place(&connection.list_offset("t", LATEST, 11).await), (0, 0, -1));
    assert_eq!(place(&connection.list_offset("t", EARLIEST, 11).await), (0, 0, -1));
    assert_eq!(place(&connection.list_offset("t", MAX_TIMESTAMP, 11).await), (0, -1, -1));
    assert_eq!(place(&connection.list_offset("t", 0, 11).await), (0, -1, -1));
    assert_eq!(connection.list_offset("nowhere", LATEST, 11).await.error_code.code(), 3);
}

#[tokio::test]
async fn a_time_finds_the_first_record_that_is_not_older() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    connection.append("t", batch_at_times(&[HOUR, HOUR + 30, HOUR + 10])).await;
    connection.append("t", batch_at_times(&[HOUR + 20, HOUR + 40])).await;
    for (time, expected) in [
        (0, (0, 0, HOUR)),
        (HOUR, (0, 0, HOUR)),
        (HOUR + 1, (0, 1, HOUR + 30)),
        (HOUR + 30, (0, 1, HOUR + 30)),
        (HOUR + 31, (0, 4, HOUR + 40)),
        (HOUR + 40, (0, 4, HOUR + 40)),
        (HOUR + 41, (0, -1, -1)),
        (i64::MAX, (0, -1, -1)),
    ] {
        for version in [1, 4, 6, 11] {
            let found = connection.list_offset("t", time, version).await;
            assert_eq!(place(&found), expected, "time {time} at version {version}");
        }
    }
}

#[tokio::test]
async fn times_are_found_across_many_batches_and_after_a_reopen() {
    let home = Home::default();
    let mut server = home.start().await;
    let mut connection = server.connect_with_topic("t").await;
    let value = "x".repeat(1000);
    for number in 0..200_i64 {
        let mut builder = highwater_storage::batch::BatchBuilder::new();
        let time = highwater_storage::TimestampMs::new(HOUR + number * 10);
        builder.append(time, None, Some(value.as_bytes()), &[]).unwrap();
        assert_eq!(connection.append("t", builder.build().unwrap()).await, number);
    }
    for clean in [false, true, false] {
        for number in [0, 1, 57, 123, 199] {
            let found = connection.list_offset("t", HOUR + number * 10 - 5, 11).await;
            assert_eq!(place(&found), (0, number, HOUR + number * 10));
        }
        if clean {
            server.stop().await
        } else {
            server.kill()
        }
        server = home.start().await;
        connection = server.connect().await;
    }
}

/// Where an epoch ended, as the leader sees it: error, epoch, end offset.
async fn epoch_end(connection: &mut Connection, current: i32, epoch: i32) -> (i16, i32, i64) {
    let partition =
        OffsetForLeaderPartition { partition: 0, current_leader_epoch: current, leader_epoch: epoch };
    let topic = OffsetForLeaderTopic { topic: "t".into(), partitions: vec![partition] };
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] };
    let mut answers = Vec::new();
    for version in 2..=4 {
        let answer = connection.ask(&request, version).await;
        let end: EpochEndOffset = answer.topics[0].partitions[0].clone();
        answers.push((end.error_code.code(), end.leader_epoch, end.end_offset));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    answers[0]
}

async fn leader_epoch(connection: &mut Connection) -> i32 {
    let answer = connection.ask(&MetadataRequest::default(), 12).await;
    let topic = answer.topics.iter().find(|topic| topic.name.as_deref() == Some("t")).unwrap();
    topic.partitions[0].leader_epoch
}

#[tokio::test]
async fn the_leader_epoch_grows_by_one_with_each_start_and_its_ends_are_remembered() {
    let home = Home::default();
    let mut epochs = Vec::new();
    for run in 0..4_i64 {
        let server = home.start().await;
        let mut connection =
            if run == 0 { server.connect_with_topic("t").await } else { server.connect().await };
        epochs.push(leader_epoch(&mut connection).await);
        // Two records in each epoch.
        assert_eq!(connection.append("t", batch(&["a", "b"])).await, run * 2);
        let stored = headers_in(&connection.fetch("t", run * 2).await.records.unwrap());
        assert_eq!(Some(&stored[0].leader_epoch.get()), epochs.last(), "stamped on the batch");
        if run == 3 {
            let current = epochs[3];
            for (place, epoch) in epochs.iter().enumerate() {
                let end = i64::try_from(place + 1).unwrap() * 2;
                assert_eq!(epoch_end(&mut connection, current, *epoch).await, (0, *epoch, end));
                assert_eq!(epoch_end(&mut connection, -1, *epoch).await, (0, *epoch, end));
            }
            assert_eq!(epoch_end(&mut connection, current, current + 1).await, (0, -1, -1));
            assert_eq!(epoch_end(&mut connection, current, -1).await, (0, -1, -1));
            assert_eq!(epoch_end(&mut connection, current - 1, 0).await.0, 74);
            assert_eq!(epoch_end(&mut connection, current + 1, 0).await.0, 75);
        }
        if run % 2 == 0 { server.kill() } else { server.stop().await }
    }
    assert!(epochs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{epochs:?}");
}

#[tokio::test]
async fn an_epoch_in_which_nothing_was_written_is_known_too() {
    let home = Home::default();
    let server = home.start().await;
    let mut connection = server.connect_with_topic("t").await;
    let first = leader_epoch(&mut connection).await;
    connection.append("t", batch(&["a", "b", "c"])).await;
    server.stop().await;
    home.start().await.stop().await;

    let server = home.start().await;
    let mut connection = server.connect().await;
    assert_eq!(leader_epoch(&mut connection).await, first + 2);
    assert_eq!(epoch_end(&mut connection, -1, first).await, (0, first, 3));
    // A leader notes its epoch as it begins; the next one, at the same offset, takes the note's place. So a reader
    // that began at the end in the epoch between is told that its log agrees up to where it stands.
    assert_eq!(epoch_end(&mut connection, -1, first + 1).await, (0, first, 3));
    assert_eq!(epoch_end(&mut connection, -1, first + 2).await, (0, first + 2, 3));
}

#[tokio::test]
async fn a_reader_that_begins_at_the_end_in_a_new_epoch_is_not_out_of_range() {
    let home = Home::default();
    let server = home.start().await;
    let mut connection = server.connect_with_topic("t").await;
    connection.append("t", batch(&["a", "b", "c"])).await;
    server.stop().await;

    let server = home.start().await;
    let mut connection = server.connect().await;
    let end = connection.list_offset("t", LATEST, 11).await;
    let mut request = fetch("t", 0, end.offset);
    request.topics[0].partitions[0].last_fetched_epoch = end.leader_epoch;
    let part = fetched(connection.ask(&request, FETCH).await);
    assert_eq!((part.error_code.code(), part.diverging_epoch.epoch), (0, -1));
}

#[tokio::test]
async fn a_reader_whose_log_went_another_way_is_told_where() {
    let home = Home::default();
    let server = home.start().await;
    let mut connection = server.connect_with_topic("t").await;
    let first = leader_epoch(&mut connection).await;
    connection.append("t", batch(&["a", "b", "c"])).await;
    server.kill();
    let server = home.start().await;
    let mut connection = server.connect().await;
    connection.append("t", batch(&["d", "e"])).await;
    // The first epoch ended at 3: a reader that has its record 3 has one that was never stored here.
    let mut request = fetch("t", 0, 4);
    request.topics[0].partitions[0].last_fetched_epoch = first;
    let part = fetched(connection.ask(&request, FETCH).await);
    assert_eq!(part.error_code.code(), 0);
    assert_eq!((part.diverging_epoch.epoch, part.diverging_epoch.end_offset), (first, 3));
    assert!(part.records.unwrap_or_default().is_empty());
    request.topics[0].partitions[0].fetch_offset = 3;
    let part = fetched(connection.ask(&request, FETCH).await);
    assert_eq!((part.error_code.code(), part.diverging_epoch.epoch), (0, -1));
}
