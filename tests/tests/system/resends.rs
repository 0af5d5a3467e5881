//! A resent batch is stored once: Kafka's rules for idempotent producers, request by request (semantics, section 2.2).

use highwater_protocol::messages::ProduceResponse;
use highwater_tests::batches::ScriptedProducer;
use highwater_tests::requests::{PRODUCE, produce, produced};
use highwater_tests::server::{Home, Server};

const LAST_SEQUENCE: i32 = i32::MAX;

fn value(sequence: i32) -> String {
    format!("v{sequence}")
}

fn batch(producer: ScriptedProducer, sequence: i32) -> bytes::Bytes {
    producer.batch(sequence, &value(sequence))
}

/// The values of sequences 0 to `count`.
fn values(count: i32) -> Vec<String> {
    (0..count).map(value).collect()
}

#[tokio::test]
async fn each_of_the_last_five_batches_resent_answers_its_first_offset_and_adds_nothing() {
    let server = Server::in_memory().await;
    let mut first = server.connect_with_topic("t").await;
    let mut second = server.connect().await;
    let producer = first.new_producer().await;
    for sequence in 0..8 {
        assert_eq!(first.append("t", batch(producer, sequence)).await, i64::from(sequence));
    }
    for sequence in 3..8 {
        for connection in [&mut first, &mut second] {
            let again = connection.produce("t", batch(producer, sequence)).await;
            assert_eq!((again.error_code.code(), again.base_offset), (0, i64::from(sequence)));
            // Kafka tells the stored batch's time even where the topic keeps the producer's.
            assert_eq!(again.log_append_time_ms, highwater_tests::batches::TIME.get());
            assert_eq!(again.log_start_offset, 0);
        }
    }
    assert_eq!(first.values("t").await, values(8));
}

#[tokio::test]
async fn the_sixth_last_batch_is_out_of_order() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let producer = connection.new_producer().await;
    for sequence in 0..8 {
        connection.append("t", batch(producer, sequence)).await;
    }
    for sequence in 0..3 {
        assert_eq!(connection.outcome("t", batch(producer, sequence)).await.0, 45, "sequence {sequence}");
    }
    assert_eq!(connection.values("t").await, values(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_resends_at_once_find_one_copy() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let producer = connection.new_producer().await;
    for sequence in 0..5 {
        connection.append("t", batch(producer, sequence)).await;
    }
    let resends = (0..200).map(|number| {
        let address = server.address;
        tokio::spawn(async move {
            let sequence = number % 5;
            let mut own = highwater_tests::connection::Connection::open(address).await;
            (sequence, own.outcome("t", batch(producer, sequence)).await)
        })
    });
    for resend in resends.collect::<Vec<_>>() {
        let (sequence, outcome) = resend.await.unwrap();
        assert_eq!(outcome, (0, i64::from(sequence)));
    }
    assert_eq!(connection.values("t").await, values(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_first_attempts_at_once_make_one_copy() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let producer = connection.new_producer().await;
    let attempts = (0..200).map(|_| {
        let address = server.address;
        tokio::spawn(async move {
            let mut own = highwater_tests::connection::Connection::open(address).await;
            own.outcome("t", batch(producer, 0)).await
        })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        assert_eq!(attempt.await.unwrap(), (0, 0));
    }
    assert_eq!(connection.values("t").await, values(1));
}

#[tokio::test]
async fn a_batch_and_its_resends_may_be_on_their_way_together() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let producer = connection.new_producer().await;
    for _ in 0..60 {
        connection.send(&produce("t", 0, -1, batch(producer, 0)), PRODUCE).await;
    }
    for _ in 0..60 {
        let (_, response) = connection.answer::<ProduceResponse>(PRODUCE).await;
        let done = produced(response);
        assert_eq!((done.error_code.code(), done.base_offset), (0, 0));
    }
    assert_eq!(connection.values("t").await, values(1));
}

#[tokio::test]
async fn a_part_of_a_batch_is_no_resend_of_it() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let producer = connection.new_producer().await;
    connection.append("t", producer.batch_of(0, &["v0", "v1", "v2"])).await;
    for overlap in [producer.batch_of(0, &["v0", "v1"]), producer.batch_of(1, &["v1", "v2"])] {
        assert_eq!(connection.outcome("t", overlap).await.0, 45);
    }
    assert_eq!(connection.outcome("t", producer.batch_of(0, &["v0", "v1", "v2"])).await, (0, 0));
    assert_eq!(connection.values("t").await, values(3));
}

#[tokio::test]
async fn a_gap_is_refused_until_it_is_filled() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let producer = connection.new_producer().await;
    connection.append("t", batch(producer, 0)).await;
    assert_eq!(connection.outcome("t", batch(producer, 2)).await, (45, -1));
    assert_eq!(connection.outcome("t", batch(producer, 1)).await, (0, 1));
    assert_eq!(connection.outcome("t", batch(producer, 2)).await, (0, 2));
    assert_eq!(connection.values("t").await, values(3));
}

#[tokio::test]
async fn an_unknown_producer_may_begin_anywhere() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let stranger = ScriptedProducer { id: 77_777, epoch: 3 };
    assert_eq!(connection.outcome("t", stranger.batch(41, "a")).await, (0, 0));
    assert_eq!(connection.outcome("t", stranger.batch(42, "b")).await, (0, 1));
    assert_eq!(connection.outcome("t", stranger.batch(44, "d")).await.0, 45);
}

#[tokio::test]
async fn each_partition_counts_for_itself() {
    let server = Server::in_memory().await;
    let mut connection = server.connect().await;
    connection.create_topic("t", 2, &[]).await;
    let producer = connection.new_producer().await;
    for partition in [0, 1] {
        let request = produce("t", partition, -1, batch(producer, 0));
        assert_eq!(produced(connection.ask(&request, PRODUCE).await).base_offset, 0);
    }
    let request = produce("t", 1, -1, batch(producer, 1));
    assert_eq!(produced(connection.ask(&request, PRODUCE).await).base_offset, 1);
    assert_eq!(connection.outcome("t", batch(producer, 2)).await.0, 45);
}

#[tokio::test]
async fn an_old_epoch_is_fenced_and_a_new_one_begins_at_zero() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let old = connection.new_producer().await;
    let new = old.bumped();
    connection.append("t", batch(old, 0)).await;
    connection.append("t", batch(old, 1)).await;
    assert_eq!(connection.outcome("t", batch(new, 2)).await.0, 45, "a new epoch begins at 0");
    assert_eq!(connection.outcome("t", new.batch(0, "v2")).await, (0, 2));
    assert_eq!(connection.outcome("t", batch(old, 1)).await.0, 47, "the window went with the epoch");
    assert_eq!(connection.outcome("t", batch(old, 2)).await, (47, -1));
    assert_eq!(connection.outcome("t", new.batch(0, "v2")).await, (0, 2), "a resend of the new epoch");
    assert_eq!(connection.values("t").await, values(3));
}

#[tokio::test]
async fn sequences_go_on_from_the_largest_to_zero() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let producer = connection.new_producer().await;
    assert_eq!(connection.outcome("t", producer.batch(LAST_SEQUENCE - 1, "v0")).await, (0, 0));
    // Within one batch: the largest, then 0.
    let across = producer.batch_of(LAST_SEQUENCE, &["v1", "v2"]);
    assert_eq!(connection.outcome("t", across.clone()).await, (0, 1));
    assert_eq!(connection.outcome("t", producer.batch(1, "v3")).await, (0, 3));
    assert_eq!(connection.outcome("t", across).await, (0, 1), "a resend across the edge");
    assert_eq!(connection.outcome("t", producer.batch(0, "x")).await.0, 45);

    // Between batches.
    let other = connection.new_producer().await;
    assert_eq!(connection.outcome("t", other.batch(LAST_SEQUENCE, "v4")).await, (0, 4));
    assert_eq!(connection.outcome("t", other.batch(1, "x")).await.0, 45);
    assert_eq!(connection.outcome("t", other.batch(0, "v5")).await, (0, 5));
    assert_eq!(connection.values("t").await, values(6));
}

#[tokio::test]
async fn a_negative_sequence_is_no_sequence() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    let producer = connection.new_producer().await;
    assert_eq!(connection.outcome("t", producer.batch(-1, "x")).await, (87, -1));
    assert!(connection.values("t").await.is_empty());
}

#[tokio::test]
async fn the_window_survives_a_kill() {
    the_window_survives(async |server| server.kill()).await;
}

/// Kafka would know the last batch only: its snapshot holds no more.
#[tokio::test]
async fn the_window_survives_a_clean_stop_whole() {
    the_window_survives(Server::stop).await;
}

async fn the_window_survives(end: impl AsyncFnOnce(Server)) {
    let home = Home::default();
    let server = home.start().await;
    let mut connection = server.connect_with_topic("t").await;
    let producer = connection.new_producer().await;
    for sequence in 0..8 {
        connection.append("t", batch(producer, sequence)).await;
    }
    end(server).await;
    connection.closed().await;

    let server = home.start().await;
    let mut connection = server.connect().await;
    for sequence in 3..8 {
        assert_eq!(connection.outcome("t", batch(producer, sequence)).await, (0, i64::from(sequence)));
    }
    assert_eq!(connection.outcome("t", batch(producer, 2)).await.0, 45);
    assert_eq!(connection.outcome("t", batch(producer, 9)).await.0, 45);
    assert_eq!(connection.outcome("t", batch(producer, 8)).await, (0, 8));
    assert_eq!(connection.values("t").await, values(9));
}

#[tokio::test]
async fn producer_ids_are_never_given_twice_across_restarts() {
    let home = Home::default();
    let mut ids = Vec::new();
    for run in 0..4 {
        let server = home.start().await;
        let mut connection = server.connect().await;
        for _ in 0..3 {
            ids.push(connection.new_producer().await.id);
        }
        if run % 2 == 0 { server.kill() } else { server.stop().await }
    }
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
}
