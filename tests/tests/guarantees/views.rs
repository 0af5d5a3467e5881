//! Rows about what a client's producer makes of a fault: our own client, in the ways it lets itself be configured.

use std::time::Duration;

use bytes::Bytes;
use highwater::client::{Acks as ClientAcks, Client, Producer, ProducerBuilder, Record};
use highwater::faults::{Api, Fault, Step};
use highwater::{Cluster, ClusterBuilder};
use highwater_storage::batch::BatchHeader;
use highwater_tests::batches::headers_in;
use highwater_tests::connection::{Connection, in_time};
use highwater_tests::guarantees::judge::Run;
use highwater_tests::guarantees::words::{Acks, Sign, Told};
use highwater_tests::guarantees::{Row, Way};

use crate::plays_as_client;

const REQUEST: Step = Step::Request(Api::Produce);
const REPLY: Step = Step::Reply(Api::Produce);
/// How long the producer waits for an answer that is lost.
const SOON: Duration = Duration::from_millis(400);

/// A cluster in memory, and a producer that goes about it in this way.
struct View {
    cluster: Cluster,
    client: Client,
    producer: Producer,
}

impl View {
    async fn of(way: Way, options: impl FnOnce(ProducerBuilder) -> ProducerBuilder) -> Self {
        let builder: ClusterBuilder = Cluster::builder().in_memory().seed(1);
        let cluster = builder.set("highwater.durability", way.mode.word()).start().await.unwrap();
        let client = cluster.client();
        let acks = match way.acks {
            Acks::None => ClientAcks::None,
            Acks::Leader => ClientAcks::Leader,
            Acks::All => ClientAcks::All,
        };
        let retries = if way.retries { u32::MAX } else { 0 };
        let producer = client.producer().acks(acks).idempotent(way.idempotence).retries(retries);
        let producer = options(producer).build().await.unwrap();
        Self { cluster, client, producer }
    }

    async fn send(&self, value: &str) -> Told {
        match in_time("a verdict", self.producer.send(Record::of("t", value))).await {
            Ok(_) => Told::Acknowledged,
            Err(error) if error.possibly_stored() => Told::Unknown,
            Err(_) => Told::Refused,
        }
    }

    async fn values(&self) -> Vec<String> {
        let mut consumer = self.client.consumer().from_beginning().assign([("t", 0)]).build().await.unwrap();
        let mut values = Vec::new();
        while let Some(records) = in_time("records", consumer.poll_until_end()).await.unwrap() {
            let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
            values.extend(records.iter().map(|record| text(record.value.as_deref().unwrap())));
        }
        values
    }

    /// The headers of all batches, as they lie in the log.
    async fn headers(&self) -> Vec<BatchHeader> {
        let address = self.cluster.listen("127.0.0.1:0").await.unwrap();
        let part = Connection::open(address).await.fetch("t", 0).await;
        headers_in(&part.records.unwrap_or_else(Bytes::new))
    }
}

#[tokio::test]
async fn row_u1_without_retries_a_lost_acknowledgement_is_a_failure_of_what_is_stored() {
    plays_as_client("U1", &[Fault::Lose, Fault::Cut], async |_: &Row, way, fault| {
        let view = View::of(way, |producer| producer.request_timeout(SOON)).await;
        let mut run = Run::default();
        run.sent("before", view.send("before").await);
        view.cluster.faults().on(REPLY, fault, 1);
        run.met("met", view.send("met").await);
        run.saw(if fault == Fault::Cut { Sign::Disconnect } else { Sign::Silence });
        run.sent("after", view.send("after").await);
        run.stored(view.values().await);
        run
    })
    .await;
}

/// The first attempt outlives the delivery; with idempotence the next batch begins a new epoch (KIP-360).
async fn delivery_times_out(way: Way, step: Step) -> Run {
    let options = |producer: ProducerBuilder| producer.request_timeout(SOON).delivery_timeout(SOON);
    let view = View::of(way, options).await;
    let mut run = Run::default();
    run.sent("before", view.send("before").await);
    view.cluster.faults().on(step, Fault::Lose, 1);
    run.met("met", view.send("met").await);
    assert!(view.cluster.faults().is_spent(), "{way}");
    run.saw(Sign::Silence);
    run.sent("after", view.send("after").await);
    run.stored(view.values().await);
    if way.idempotence {
        let last = view.headers().await.pop().unwrap();
        assert_eq!(
            (last.producer_epoch.get(), last.base_sequence.get()),
            (1, 0),
            "{way}: the batch behind the gap"
        );
    }
    run
}

#[tokio::test]
async fn row_u2a_the_delivery_times_out_after_the_append() {
    plays_as_client("U2a", &[()], async |_: &Row, way, ()| delivery_times_out(way, REPLY).await).await;
}

#[tokio::test]
async fn row_u2b_the_delivery_times_out_before_the_append() {
    plays_as_client("U2b", &[()], async |_: &Row, way, ()| delivery_times_out(way, REQUEST).await).await;
}
