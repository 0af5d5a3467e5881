//! A cluster inside the process: what a client without a port sees, and what is left when the cluster goes.

use std::time::Duration;

use highwater::client::{Acks, Client, Codec, ConsumedRecord, Record};
use highwater::{Cluster, ClusterBuilder, FolderError, StartError};
use highwater_protocol::messages::DescribeClusterRequest;
use highwater_tests::connection::{in_time, until};
use highwater_tests::server::{Home, Server};
use tokio::net::TcpStream;

/// Everything in a partition.
async fn read_all(client: &Client, topic: &str, partition: i32) -> Vec<ConsumedRecord> {
    let consumer = client.consumer().from_beginning().assign([(topic.to_owned(), partition)]);
    let mut consumer = consumer.build().await.unwrap();
    let mut records = Vec::new();
    while let Some(more) = in_time("records", consumer.poll_until_end()).await.unwrap() {
        records.extend(more);
    }
    records
}

fn text(record: &ConsumedRecord) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap()).unwrap()
}

/// A client must not wait for ever for a cluster that is gone.
async fn fails_soon(client: &Client) {
    let producer = client
        .producer()
        .max_block(Duration::from_millis(50))
        .request_timeout(Duration::from_millis(50))
        .delivery_timeout(Duration::from_millis(100))
        .build()
        .await
        .unwrap();
    let sent = in_time("the end of a send", producer.send(Record::of("t", "v"))).await;
    assert!(sent.is_err(), "{sent:?}");
}

#[tokio::test]
async fn every_codec_brings_back_keys_values_and_headers_to_the_byte() {
    let cluster = Cluster::builder().in_memory().start().await.unwrap();
    let client = cluster.client();
    let long = "a value that compresses well ".repeat(200);
    for codec in Codec::ALL {
        let topic = codec.name();
        let producer = client.producer().compression(codec).build().await.unwrap();
        let records = [
            Record::new(topic, "key", "value"),
            Record::to(topic),
            Record::to(topic).key("only a key"),
            Record::of(topic, ""),
            Record::new(topic, "", "an empty key"),
            Record::of(topic, &long)
                .header("h", "1")
                .header("h", "2")
                .null_header("none")
                .header("", &[0_u8, 255]),
        ];
        for (place, record) in records.into_iter().enumerate() {
            let at = producer.send(record).await.unwrap();
            assert_eq!(at.offset.map(highwater::client::Offset::get), i64::try_from(place).ok());
        }
        let read = read_all(&client, topic, 0).await;
        let bytes = |text: &'static str| Some(bytes::Bytes::from_static(text.as_bytes()));
        let pairs: Vec<_> = read.iter().map(|record| (record.key.clone(), record.value.clone())).collect();
        assert_eq!(
            pairs,
            [
                (bytes("key"), bytes("value")),
                (None, None),
                (bytes("only a key"), None),
                (None, bytes("")),
                (bytes(""), bytes("an empty key")),
                (None, Some(bytes::Bytes::from(long.clone()))),
            ],
            "{topic}"
        );
        let headers: Vec<_> =
            read[5].headers.iter().map(|header| (header.key_text().into_owned(), header.value)).collect();
        assert_eq!(
            headers,
            [
                ("h".to_owned(), bytes("1")),
                ("h".to_owned(), bytes("2")),
                ("none".to_owned(), None),
                (String::new(), Some(bytes::Bytes::from_static(&[0, 255]))),
            ]
        );
        assert!(read[..5].iter().all(|record| record.headers.is_empty()));
    }
}

#[tokio::test]
async fn every_acks_setting_stores_the_record() {
    let cluster = Cluster::builder().in_memory().start().await.unwrap();
    let client = cluster.client();
    for (acks, offset) in [(Acks::None, None), (Acks::Leader, Some(1)), (Acks::All, Some(2))] {
        let producer = client.producer().acks(acks).build().await.unwrap();
        let at = producer.send(Record::of("t", &format!("{acks:?}"))).await.unwrap();
        assert_eq!(at.offset.map(highwater::client::Offset::get), offset);
        let count = usize::try_from(offset.unwrap_or(0)).unwrap() + 1;
        until("the record", async || (read_all(&client, "t", 0).await.len() == count).then_some(())).await;
    }
}

#[tokio::test]
async fn clusters_of_one_process_know_nothing_of_each_other() {
    let mut clusters = Vec::new();
    for number in 0..3 {
        let cluster = Cluster::builder().in_memory().start().await.unwrap();
        let producer = cluster.client().producer().build().await.unwrap();
        producer.send(Record::of("t", &format!("of {number}"))).await.unwrap();
        clusters.push(cluster);
    }
    for (number, cluster) in clusters.iter().enumerate() {
        let read = read_all(&cluster.client(), "t", 0).await;
        assert_eq!(read.iter().map(text).collect::<Vec<_>>(), [format!("of {number}")]);
    }
    let mut ids: Vec<_> = clusters.iter().map(Cluster::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn the_next_cluster_finds_what_the_folder_holds() {
    let home = Home::default();
    let (mut cluster_id, mut topic_id) = (None, None);
    for run in 0..4_usize {
        let cluster = home.builder().start().await.unwrap();
        assert_eq!(*cluster_id.get_or_insert(cluster.id().to_owned()), cluster.id());
        let client = cluster.client();
        let producer = client.producer().build().await.unwrap();
        let at = producer.send(Record::of("t", &run.to_string())).await.unwrap();
        assert_eq!(at.offset.map(highwater::client::Offset::get), i64::try_from(run).ok());
        let (_, described) = client.describe_topics(["t"]).await.unwrap().remove(0);
        let id = described.unwrap().id;
        assert_eq!(*topic_id.get_or_insert(id), id);
        let read = read_all(&client, "t", 0).await;
        assert!(read.iter().map(text).eq((0..=run).map(|run| run.to_string())));
        if run % 2 == 0 {
            drop(cluster);
        } else {
            cluster.stop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_folder_belongs_to_one_cluster_at_a_time() {
    let home = Home::default();
    let first = home.builder().start().await.unwrap();
    let second = home.builder().start().await;
    assert!(matches!(second, Err(StartError::Folder(FolderError::InUse { .. }))));
    first.stop().await.unwrap();
    home.builder().start().await.unwrap();
}

#[tokio::test]
async fn a_folder_with_other_files_is_left_alone() {
    let home = Home::default();
    let file = home.path().join("letters.txt");
    std::fs::write(&file, "dear").unwrap();
    let started = home.builder().start().await;
    assert!(matches!(started, Err(StartError::Folder(FolderError::NotOurs { .. }))));
    let there: Vec<_> =
        std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(there, ["letters.txt"]);
    let in_a_file = Cluster::builder().folder(&file).start().await;
    assert!(matches!(in_a_file, Err(StartError::Folder(FolderError::Io { .. }))));
    assert_eq!(std::fs::read(&file).unwrap(), b"dear");
}

#[tokio::test]
async fn a_wrong_setting_is_told_at_the_start() {
    for (name, value) in [("num.partitions", "0"), ("no.such.setting", "1"), ("log.segment.bytes", "many")] {
        let Err(StartError::Config(words)) = Cluster::builder().set(name, value).start().await else {
            panic!("{name}={value} was taken");
        };
        assert!(words.contains(name), "{words}");
    }
}

#[tokio::test]
async fn a_dropped_cluster_is_gone() {
    let server = Server::in_memory().await;
    let (address, client) = (server.address, server.cluster.client());
    let connection = server.connect_with_topic("t").await;
    let producer = client.producer().build().await.unwrap();
    producer.send(Record::of("t", "v")).await.unwrap();
    drop(server);
    connection.closed().await;
    until("a closed port", async || TcpStream::connect(address).await.is_err().then_some(())).await;
    fails_soon(&client).await;
}

#[tokio::test]
async fn a_stopped_cluster_is_gone() {
    let server = Server::in_memory().await;
    let (address, client) = (server.address, server.cluster.client());
    let connection = server.connect_with_topic("t").await;
    server.stop().await;
    connection.closed().await;
    assert!(TcpStream::connect(address).await.is_err());
    fails_soon(&client).await;
}

#[tokio::test]
async fn a_consumer_that_waits_is_woken_by_a_record() {
    let cluster = Cluster::builder().in_memory().start().await.unwrap();
    let client = cluster.client();
    let producer = client.producer().build().await.unwrap();
    producer.send(Record::of("t", "first")).await.unwrap();
    let mut consumer = client.consumer().from_beginning().assign([("t", 0)]).build().await.unwrap();
    assert_eq!(text(&in_time("the first record", consumer.next()).await.unwrap()), "first");
    let waiting = tokio::spawn(async move { in_time("the second record", consumer.next()).await.unwrap() });
    producer.send(Record::of("t", "second")).await.unwrap();
    assert_eq!(text(&waiting.await.unwrap()), "second");
}

#[tokio::test]
async fn a_listener_and_the_process_see_the_same_log() {
    let server = Server::in_memory().await;
    let inside = server.cluster.client();
    let outside = Client::connect(server.address.to_string()).await.unwrap();
    for (client, value) in [(&inside, "in"), (&outside, "out"), (&inside, "in again")] {
        client.producer().build().await.unwrap().send(Record::of("t", value)).await.unwrap();
    }
    for client in [&inside, &outside] {
        let read = read_all(client, "t", 0).await;
        assert_eq!(read.iter().map(text).collect::<Vec<_>>(), ["in", "out", "in again"]);
    }
}

/// Connections that produce until they are cut off; gives the value and offset of every acknowledged record.
async fn produce_until_closed(
    server: &Server,
    writers: usize,
) -> Vec<tokio::task::JoinHandle<Vec<(String, i64)>>> {
    use highwater_protocol::frame::decode_response;
    use highwater_protocol::messages::ProduceResponse;
    use highwater_tests::requests::{PRODUCE, produce, produced};

    let mut tasks = Vec::new();
    for writer in 0..writers {
        let mut connection = server.connect().await;
        let producer = connection.new_producer().await;
        tasks.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for sequence in 0.. {
                let value = format!("{writer}-{sequence}");
                connection.send(&produce("t", 0, -1, producer.batch(sequence, &value)), PRODUCE).await;
                let Some(frame) = connection.frame().await else { break };
                let (_, response) = decode_response::<ProduceResponse>(frame, PRODUCE).unwrap();
                let done = produced(response);
                if done.error_code.code() != 0 {
                    break;
                }
                acknowledged.push((value, done.base_offset));
            }
            acknowledged
        }));
    }
    tasks
}

/// Ends a cluster under load a few times, and looks in its folder at once for what it acknowledged.
async fn end_under_load(end: impl AsyncFn(Server)) {
    for round in 0..6 {
        let home = Home::default();
        let server = home.start().await;
        let mut connection = server.connect_with_topic("t").await;
        let writers = produce_until_closed(&server, 6).await;
        until("some records", async || (connection.list_offset("t", -1, 11).await.offset > 30).then_some(()))
            .await;
        drop(connection);
        end(server).await;

        // The next one opens the folder at once, while the writers find out.
        let server = home.start().await;
        let stored = server.connect().await.values("t").await;
        for writer in writers {
            for (value, offset) in in_time("the end of a writer", writer).await.unwrap() {
                let place = usize::try_from(offset).unwrap();
                assert_eq!(stored.get(place), Some(&value), "round {round}, offset {offset}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_that_is_stopped_under_load_loses_no_acknowledged_record() {
    end_under_load(async |server| server.stop().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_that_is_dropped_under_load_loses_no_acknowledged_record() {
    end_under_load(async |server| server.kill()).await;
}

#[tokio::test]
async fn clients_are_told_where_they_reached_the_broker_or_what_is_advertised() {
    let told = async |builder: ClusterBuilder| {
        let server = Server::start(builder).await;
        let cluster = server.connect().await.ask(&DescribeClusterRequest::default(), 0).await;
        let [broker] = &cluster.brokers[..] else { panic!("{:?}", cluster.brokers) };
        (broker.host.to_string(), broker.port, i32::from(server.address.port()))
    };
    let (host, port, listening) = told(Cluster::builder()).await;
    assert_eq!((host.as_str(), port), ("127.0.0.1", listening));
    let (host, port, listening) = told(Cluster::builder().advertise("kafka.test", None)).await;
    assert_eq!((host.as_str(), port), ("kafka.test", listening));
    let (host, port, _) = told(Cluster::builder().advertise("kafka.test", Some(19092))).await;
    assert_eq!((host.as_str(), port), ("kafka.test", 19092));
}
