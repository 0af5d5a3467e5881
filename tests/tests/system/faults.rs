//! What a delivery guarantee is worth when answers are lost: with faults at exact steps, through the gate.

use std::time::Duration;

use highwater::Cluster;
use highwater::client::{Acks, Client, Producer, Record};
use highwater::faults::{Api, Fault, Step};
use highwater_protocol::messages::ProduceResponse;
use highwater_tests::batches::batch;
use highwater_tests::connection::{PATIENCE, in_time, until};
use highwater_tests::requests::{PRODUCE, produce, produced};
use highwater_tests::server::Server;

const REQUEST: Step = Step::Request(Api::Produce);
const REPLY: Step = Step::Reply(Api::Produce);
/// How long a client waits for an answer that is lost.
const SOON: Duration = Duration::from_millis(50);

async fn cluster_with_topic() -> (Cluster, Client) {
    let cluster = Cluster::builder().in_memory().seed(1).start().await.unwrap();
    let client = cluster.client();
    let producer = client.producer().build().await.unwrap();
    assert_eq!(producer.send(Record::of("t", "before")).await.unwrap().offset.unwrap().get(), 0);
    (cluster, client)
}

async fn idempotent(client: &Client) -> Producer {
    client.producer().request_timeout(SOON).build().await.unwrap()
}

async fn without_idempotence(client: &Client, retries: u32) -> Producer {
    let producer = client.producer().acks(Acks::All).idempotent(false).retries(retries);
    producer.request_timeout(SOON).build().await.unwrap()
}

async fn values(client: &Client) -> Vec<String> {
    let mut consumer = client.consumer().from_beginning().assign([("t", 0)]).build().await.unwrap();
    let mut values = Vec::new();
    while let Some(records) = in_time("records", consumer.poll_until_end()).await.unwrap() {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        values.extend(records.iter().map(|record| text(record.value.as_deref().unwrap())));
    }
    values
}

#[tokio::test]
async fn a_lost_or_cut_answer_costs_an_idempotent_producer_nothing() {
    for fault in [Fault::Lose, Fault::Cut] {
        for step in [REQUEST, REPLY] {
            for times in [1, 3] {
                let (cluster, client) = cluster_with_topic().await;
                let producer = idempotent(&client).await;
                producer.send(Record::of("t", "a")).await.unwrap();
                cluster.faults().on(step, fault, times);
                let at = in_time("an acknowledgement", producer.send(Record::of("t", "b"))).await.unwrap();
                assert!(cluster.faults().is_spent(), "the fault did not happen");
                assert_eq!(at.offset.unwrap().get(), 2);
                producer.send(Record::of("t", "c")).await.unwrap();
                let stored = values(&client).await;
                assert_eq!(stored, ["before", "a", "b", "c"], "{fault:?} at {step:?}, {times} times");
            }
        }
    }
}

#[tokio::test]
async fn without_idempotence_a_lost_answer_makes_a_second_copy() {
    for fault in [Fault::Lose, Fault::Cut] {
        let (cluster, client) = cluster_with_topic().await;
        let producer = without_idempotence(&client, u32::MAX).await;
        cluster.faults().on(REPLY, fault, 1);
        let at = in_time("an acknowledgement", producer.send(Record::of("t", "a"))).await.unwrap();
        assert_eq!(at.offset.unwrap().get(), 2, "the offset of the second copy");
        assert_eq!(values(&client).await, ["before", "a", "a"], "{fault:?}");
    }
}

#[tokio::test]
async fn without_idempotence_a_lost_request_makes_one_copy() {
    for fault in [Fault::Lose, Fault::Cut] {
        let (cluster, client) = cluster_with_topic().await;
        let producer = without_idempotence(&client, u32::MAX).await;
        cluster.faults().on(REQUEST, fault, 1);
        in_time("an acknowledgement", producer.send(Record::of("t", "a"))).await.unwrap();
        assert_eq!(values(&client).await, ["before", "a"], "{fault:?}");
    }
}

#[tokio::test]
async fn without_retries_a_lost_answer_is_an_error_that_says_possibly_stored() {
    for fault in [Fault::Lose, Fault::Cut] {
        for (step, stored) in [(REPLY, vec!["before", "a"]), (REQUEST, vec!["before"])] {
            let (cluster, client) = cluster_with_topic().await;
            let producer = without_idempotence(&client, 0).await;
            cluster.faults().on(step, fault, 1);
            let sent = in_time("an error", producer.send(Record::of("t", "a"))).await;
            // From outside the two look alike: the error must not say more than one can know.
            assert!(sent.unwrap_err().possibly_stored(), "{fault:?} at {step:?}");
            assert_eq!(values(&client).await, stored, "{fault:?} at {step:?}");
        }
    }
}

#[tokio::test]
async fn a_held_answer_arrives_when_it_is_let_go() {
    let (cluster, client) = cluster_with_topic().await;
    // It would not ask again before the test gives up.
    let producer = client.producer().request_timeout(2 * PATIENCE).delivery_timeout(3 * PATIENCE);
    let producer = producer.build().await.unwrap();
    cluster.faults().on(REPLY, Fault::Hold, 1);
    let delivery = producer.enqueue(Record::of("t", "a")).await.unwrap();
    until("the record", async || (values(&client).await.len() == 2).then_some(())).await;
    assert!(cluster.faults().is_spent());
    cluster.release_held();
    assert_eq!(in_time("the answer", delivery).await.unwrap().offset.unwrap().get(), 1);
    assert_eq!(values(&client).await, ["before", "a"]);
}

#[tokio::test]
async fn an_answer_held_for_too_long_is_of_no_use_and_does_no_harm() {
    let (cluster, client) = cluster_with_topic().await;
    let producer = idempotent(&client).await;
    cluster.faults().on(REPLY, Fault::Hold, 1);
    let at = in_time("an acknowledgement", producer.send(Record::of("t", "a"))).await.unwrap();
    assert_eq!(at.offset.unwrap().get(), 1);
    cluster.release_held();
    producer.send(Record::of("t", "b")).await.unwrap();
    assert_eq!(values(&client).await, ["before", "a", "b"]);
}

#[tokio::test]
async fn many_records_on_their_way_survive_a_cut_in_order() {
    let (cluster, client) = cluster_with_topic().await;
    let producer = client.producer().batch_bytes(200).request_timeout(SOON).build().await.unwrap();
    cluster.faults().on(REPLY, Fault::Cut, 2);
    cluster.faults().on(REQUEST, Fault::Cut, 2);
    let mut deliveries = Vec::new();
    for number in 0..200 {
        deliveries.push(producer.enqueue(Record::of("t", &number.to_string())).await.unwrap());
    }
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let at = in_time("an acknowledgement", delivery).await.unwrap();
        assert_eq!(at.offset.map(highwater::client::Offset::get), i64::try_from(number + 1).ok());
    }
    assert!(cluster.faults().is_spent());
    let expected = std::iter::once("before".to_owned()).chain((0..200).map(|number| number.to_string()));
    assert!(values(&client).await.into_iter().eq(expected));
}

#[tokio::test]
async fn a_producer_gets_its_id_although_answers_are_lost() {
    for api in [Api::InitProducerId, Api::Metadata] {
        for fault in [Fault::Lose, Fault::Cut] {
            let (cluster, client) = cluster_with_topic().await;
            cluster.faults().on(Step::Reply(api), fault, 1);
            let producer = idempotent(&client).await;
            in_time("an acknowledgement", producer.send(Record::of("t", "a"))).await.unwrap();
            assert!(cluster.faults().is_spent(), "{api:?} {fault:?}");
            assert_eq!(values(&client).await, ["before", "a"], "{api:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_consumer_reads_everything_once_although_answers_are_lost() {
    let (cluster, client) = cluster_with_topic().await;
    let producer = client.producer().build().await.unwrap();
    for value in ["a", "b"] {
        producer.send(Record::of("t", value)).await.unwrap();
    }
    for fault in [Fault::Lose, Fault::Cut] {
        for step in [Step::Request(Api::Fetch), Step::Reply(Api::Fetch)] {
            cluster.faults().on(step, fault, 1);
            let consumer = client.consumer().from_beginning().assign([("t", 0)]);
            let consumer = consumer.fetch_max_wait(Duration::from_millis(10)).request_timeout(SOON);
            let mut consumer = consumer.build().await.unwrap();
            for expected in ["before", "a", "b"] {
                let record = in_time("a record", consumer.next()).await.unwrap();
                assert_eq!(record.value.as_deref(), Some(expected.as_bytes()), "{fault:?} at {step:?}");
            }
            assert!(cluster.faults().is_spent());
        }
    }
}

#[tokio::test]
async fn a_cut_answer_closes_the_socket_and_the_resend_on_another_finds_the_copy() {
    let server = Server::in_memory().await;
    let mut first = server.connect_with_topic("t").await;
    let producer = first.new_producer().await;
    server.cluster.faults().on(REPLY, Fault::Cut, 1);
    first.send(&produce("t", 0, -1, producer.batch(0, "a")), PRODUCE).await;
    first.closed().await;
    let mut second = server.connect().await;
    assert_eq!(second.outcome("t", producer.batch(0, "a")).await, (0, 0));
    assert_eq!(second.values("t").await, ["a"]);
}

#[tokio::test]
async fn answers_behind_one_that_is_held_wait_for_it() {
    let server = Server::in_memory().await;
    let mut connection = server.connect_with_topic("t").await;
    server.cluster.faults().on(REPLY, Fault::Hold, 1);
    let mut sent = Vec::new();
    for value in ["a", "b", "c"] {
        sent.push(connection.send(&produce("t", 0, -1, batch(&[value])), PRODUCE).await);
    }
    let mut other = server.connect().await;
    until("all three", async || (other.values("t").await.len() == 3).then_some(())).await;
    server.cluster.release_held();
    for (offset, correlation_id) in (0..).zip(sent) {
        let (answered, response) = connection.answer::<ProduceResponse>(PRODUCE).await;
        assert_eq!((answered, produced(response).base_offset), (correlation_id, offset));
    }
}
