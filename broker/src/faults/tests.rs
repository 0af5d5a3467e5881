//! What goes wrong between an append and its answer, in clusters that run.

use std::time::Duration;

use highwater_client::{Acks, GroupMetadata, Isolation, Producer, ProducerBuilder, Record, TopicPartition};

use highwater_storage::Offset;

use super::{Api, Fault, Gate, Step};
use crate::Cluster;
use crate::ids::{BrokerEpoch, NodeId};
use crate::node::{ConnectionId, Effect, Reply, Ticket};

/// Long enough for anything that comes to come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what}"))
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    in_time(what, wait).await;
}

/// Three nodes; two topics, one partition each, which all three have, with one record each, and the same leader.
struct Scene {
    cluster: Cluster,
    leader: usize,
    other: String,
}

impl Scene {
    async fn new() -> Self {
        let builder = Cluster::builder().in_memory().nodes(3).seed(1);
        // What is told of a transaction's end and lost is told again after that.
        let cluster = builder.set("request.timeout.ms", "500").start().await.unwrap();
        let producer = cluster.client().producer().acks(Acks::All).build().await.unwrap();
        in_time("acknowledgement", producer.send(Record::of("t", "before"))).await.unwrap();
        let leader = leader_of(&cluster, "t");
        for name in (0..).map(|number| format!("other-{number}")) {
            in_time("acknowledgement", producer.send(Record::of(&name, "before"))).await.unwrap();
            if leader_of(&cluster, &name) == leader {
                let scene = Self { cluster, leader, other: name };
                let ends = || [scene.ends("t"), scene.ends(&scene.other)];
                until("replicas", || ends() == [[1; 3], [1; 3]]).await;
                return scene;
            }
        }
        unreachable!("each node leads some")
    }

    fn producer(&self) -> ProducerBuilder {
        // It asks for nothing twice.
        self.cluster.client().producer().idempotent(false).retries(0).request_timeout(PATIENCE)
    }

    /// Where the log of the topic ends on each node that lives; the leader's first.
    fn ends(&self, topic: &str) -> Vec<i64> {
        let mut ends = Vec::new();
        for seen in self.cluster.observe() {
            let Some(node) = seen.node else { continue };
            let held = node.topics.iter().find(|held| held.name.as_str() == topic).unwrap();
            let end = held.partitions[0].log.unwrap().positions.log_end.get();
            let is_leader = usize::try_from(seen.id.0) == Ok(self.leader);
            ends.insert(if is_leader { 0 } else { ends.len() }, end);
        }
        ends
    }

    fn strike(&self, step: Step, fault: Fault) {
        self.cluster.faults().on(step, fault, 1);
    }

    async fn values(&self) -> Vec<String> {
        let client = self.cluster.client();
        let consumer =
            client.consumer().isolation(Isolation::ReadCommitted).from_beginning().assign([("t", 0)]);
        let mut consumer = consumer.build().await.unwrap();
        let mut values = Vec::new();
        while let Some(records) = in_time("records", consumer.poll_until_end()).await.unwrap() {
            let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
            values.extend(records.iter().map(|record| text(record.value.as_deref().unwrap())));
        }
        values
    }
}

fn leader_of(cluster: &Cluster, topic: &str) -> usize {
    let node = cluster.observe().remove(0).node.unwrap();
    let held = node.topics.iter().find(|held| held.name.as_str() == topic).unwrap();
    usize::try_from(held.partitions[0].leader.unwrap().0).unwrap()
}

async fn sends(producer: ProducerBuilder, acks: Acks) -> Producer {
    producer.acks(acks).build().await.unwrap()
}

fn sending(producer: Producer, value: &'static str) -> tokio::task::JoinHandle<bool> {
    tokio::spawn(async move { producer.send(Record::of("t", value)).await.is_ok() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_is_held_when_it_was_appended_nobody_hears_until_it_is_let_go() {
    for acks in [Acks::Leader, Acks::All] {
        let scene = Scene::new().await;
        let (held, next) = (sends(scene.producer(), acks).await, sends(scene.producer(), Acks::Leader).await);
        let other = sends(scene.producer(), Acks::All).await;
        scene.strike(Step::Appended, Fault::Hold);
        let sent = sending(held, "held");
        until("the append", || scene.cluster.faults().is_spent() && scene.ends("t")[0] == 2).await;
        // What the leader has to say of other partitions it says, and what comes behind waits in order.
        for _ in 0..3 {
            in_time("acknowledgement", other.send(Record::of(&scene.other, "other"))).await.unwrap();
        }
        in_time("acknowledgement", next.send(Record::of("t", "next"))).await.unwrap();
        assert_eq!((scene.ends("t"), sent.is_finished()), (vec![3, 1, 1], false), "{acks:?}");
        scene.cluster.release_held();
        assert!(in_time("answer", sent).await.unwrap(), "{acks:?}");
        until("replicas", || scene.ends("t") == [3; 3]).await;
        assert_eq!(scene.values().await, ["before", "held", "next"]);
        scene.cluster.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_ends_with_the_life_of_its_node() {
    let scene = Scene::new().await;
    let held = sends(scene.producer(), Acks::Leader).await;
    scene.strike(Step::Appended, Fault::Hold);
    let sent = sending(held, "held");
    until("the append", || scene.cluster.faults().is_spent() && scene.ends("t")[0] == 2).await;
    let node = scene.cluster.node(scene.leader).unwrap();
    node.kill().await;
    assert!(!in_time("answer", sent).await.unwrap());
    node.start().await.unwrap();
    let all = sends(scene.cluster.client().producer(), Acks::All).await;
    in_time("acknowledgement", all.send(Record::of("t", "after"))).await.unwrap();
    until("replicas", || scene.ends("t") == [2; 3]).await;
    scene.cluster.release_held();
    // It leads again, and is heard.
    in_time("acknowledgement", all.send(Record::of("t", "again"))).await.unwrap();
    until("replicas", || scene.ends("t") == [3; 3]).await;
    assert_eq!(scene.values().await, ["before", "after", "again"]);
}

/// The thread that stepped the node carries out what it was about to do when its life may be over.
#[test]
fn what_a_life_was_about_to_do_when_it_ended_is_not_held_into_the_next() {
    let ticket = |connection| Ticket { connection: ConnectionId(connection), request: 1 };
    let reply = |connection| Effect::Reply(ticket(connection), Reply::Produce(Vec::new()));
    let [before, after] = [7, 8].map(|life| (NodeId(0), BrokerEpoch(life)));
    let gate = Gate::default();
    gate.on(Step::Reply(Api::Produce), Fault::Hold, 4);
    assert!(gate.effect(before, reply(1)).is_none());
    gate.forget(before.0, before.1);
    assert!(gate.effect(before, reply(2)).is_none());
    assert!(gate.effect(after, reply(3)).is_none());
    assert!(gate.effect(before, reply(4)).is_none());
    let held = gate.take_held(after.0, after.1);
    assert!(matches!(held[..], [Effect::Reply(whose, _)] if whose == ticket(3)), "{held:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_on_its_way_to_followers_is_asked_for_again() {
    for dies in [false, true] {
        let scene = Scene::new().await;
        let producer = sends(scene.producer(), Acks::Leader).await;
        scene.strike(Step::Appended, Fault::Lose);
        in_time("acknowledgement", producer.send(Record::of("t", "lost on its way"))).await.unwrap();
        assert!(scene.cluster.faults().is_spent());
        if dies {
            // Nobody else has it.
            scene.cluster.node(scene.leader).unwrap().kill().await;
            let all = sends(scene.cluster.client().producer(), Acks::All).await;
            in_time("acknowledgement", all.send(Record::of("t", "after"))).await.unwrap();
            assert_eq!(scene.values().await, ["before", "after"]);
            continue;
        }
        for other in (0..3).filter(|other| *other != scene.leader) {
            scene.cluster.cut(scene.leader, other);
            scene.cluster.heal(scene.leader, other);
        }
        until("replicas", || scene.ends("t") == [2; 3]).await;
        assert_eq!(scene.values().await, ["before", "lost on its way"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_what_everyone_has_is_held_lost_or_cut() {
    for fault in [Fault::Hold, Fault::Lose, Fault::Cut] {
        let scene = Scene::new().await;
        let producer = match fault {
            Fault::Lose => scene.producer().request_timeout(Duration::from_millis(50)),
            _ => scene.producer(),
        };
        scene.strike(Step::Replicated, fault);
        let sent = sending(sends(producer, Acks::All).await, "a");
        until("replicas", || scene.cluster.faults().is_spent() && scene.ends("t") == [2; 3]).await;
        if fault == Fault::Hold {
            assert!(!sent.is_finished());
            scene.cluster.release_held();
        }
        assert_eq!(in_time("answer", sent).await.unwrap(), fault == Fault::Hold, "{fault:?}");
        assert_eq!(scene.values().await, ["before", "a"], "{fault:?}: the record stays");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_appended_or_nobody_waits_the_steps_are_not_reached() {
    let scene = Scene::new().await;
    for (step, fault) in [(Step::Appended, Fault::Kill), (Step::Replicated, Fault::Kill)] {
        scene.strike(step, fault);
    }
    let large = "x".repeat(2 << 20);
    let producer = sends(scene.producer().max_request_bytes(8 << 20), Acks::All).await;
    assert!(in_time("answer", producer.send(Record::of("t", &large))).await.is_err());
    assert!((0..3).all(|place| scene.cluster.node(place).unwrap().is_alive()));
    // One that is appended is another thing.
    let killed = sends(scene.producer(), Acks::Leader).await;
    assert!(in_time("answer", killed.send(Record::of("t", "a"))).await.is_err());
    assert!(!scene.cluster.node(scene.leader).unwrap().is_alive());
}

/// Of a transaction too, whose first batch waits for the word of its coordinator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_transaction_appends_is_held_as_anything_is() {
    let scene = Scene::new().await;
    let mut producer = scene.cluster.client().producer().transactional("x").build().await.unwrap();
    let transaction = in_time("beginning", producer.begin()).await.unwrap();
    scene.strike(Step::Appended, Fault::Hold);
    let sent = transaction.enqueue(Record::of("t", "held")).await.unwrap();
    until("the append", || scene.cluster.faults().is_spent() && scene.ends("t")[0] == 2).await;
    assert_eq!(scene.ends("t"), [2, 1, 1]);
    scene.cluster.release_held();
    in_time("acknowledgement", sent).await.unwrap();
    scene.strike(Step::OffsetsAppended, Fault::Hold);
    let group = GroupMetadata::without_members("g");
    let let_go = async {
        until("the append", || scene.cluster.faults().is_spent()).await;
        scene.cluster.release_held();
    };
    let offsets = [(TopicPartition::new("t", 0), Offset::new(1))];
    let both = async { tokio::join!(transaction.send_offsets(&group, offsets), let_go) };
    in_time("offsets", both).await.0.unwrap();
    in_time("commit", transaction.commit()).await.unwrap();
    assert_eq!(scene.values().await, ["before", "held"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_to_be_committed_is_whoever_dies_of_it() {
    for step in [Step::Prepared, Step::Markers, Step::Marked] {
        let scene = Scene::new().await;
        let mut producer = scene.cluster.client().producer().transactional("x").build().await.unwrap();
        let transaction = in_time("beginning", producer.begin()).await.unwrap();
        in_time("acknowledgement", transaction.send(Record::of("t", "a"))).await.unwrap();
        in_time("acknowledgement", transaction.send(Record::of(&scene.other, "b"))).await.unwrap();
        scene.strike(step, Fault::Kill);
        in_time("commit", transaction.commit()).await.unwrap();
        // The next one begins when it is complete.
        let transaction = in_time("beginning", producer.begin()).await.unwrap();
        in_time("acknowledgement", transaction.send(Record::of("t", "c"))).await.unwrap();
        in_time("abort", transaction.abort()).await.unwrap();
        let alive = (0..3).filter(|place| scene.cluster.node(*place).unwrap().is_alive()).count();
        assert!(scene.cluster.faults().is_spent(), "{step:?}");
        assert_eq!((alive, scene.values().await), (2, vec!["before".into(), "a".into()]), "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_an_end_and_lost_is_told_again() {
    for step in [Step::Markers, Step::Marked] {
        let scene = Scene::new().await;
        let mut producer = scene.cluster.client().producer().transactional("x").build().await.unwrap();
        for value in ["a", "b"] {
            let transaction = in_time("beginning", producer.begin()).await.unwrap();
            in_time("acknowledgement", transaction.send(Record::of("t", value))).await.unwrap();
            scene.strike(step, Fault::Lose);
            in_time("commit", transaction.commit()).await.unwrap();
        }
        // That of the second is lost, too.
        until("fault", || scene.cluster.faults().is_spent()).await;
        let transaction = in_time("beginning", producer.begin()).await.unwrap();
        in_time("acknowledgement", transaction.send(Record::of("t", "c"))).await.unwrap();
        in_time("commit", transaction.commit()).await.unwrap();
        assert_eq!(scene.values().await, ["before", "a", "b", "c"], "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_end_that_is_held_nobody_hears_until_it_is_let_go() {
    for step in [Step::Prepared, Step::Markers, Step::Marked] {
        let scene = Scene::new().await;
        let mut producer = scene.cluster.client().producer().transactional("x").build().await.unwrap();
        let transaction = in_time("beginning", producer.begin()).await.unwrap();
        in_time("acknowledgement", transaction.send(Record::of("t", "a"))).await.unwrap();
        scene.strike(step, Fault::Hold);
        let committed = transaction.commit();
        let let_go = async {
            until("fault", || scene.cluster.faults().is_spent()).await;
            if step != Step::Marked {
                assert_eq!(scene.values().await, ["before"], "{step:?}");
            }
            scene.cluster.release_held();
        };
        in_time("commit", async { tokio::join!(committed, let_go) }).await.0.unwrap();
        let transaction = in_time("beginning", producer.begin()).await.unwrap();
        in_time("acknowledgement", transaction.send(Record::of("t", "b"))).await.unwrap();
        in_time("commit", transaction.commit()).await.unwrap();
        assert_eq!(scene.values().await, ["before", "a", "b"], "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_comes_the_nth_time_that_a_step_is_reached() {
    let scene = Scene::new().await;
    let producer = sends(scene.producer(), Acks::Leader).await;
    scene.cluster.faults().on_nth(Step::Appended, 3, Fault::Kill);
    for value in ["a", "b"] {
        in_time("acknowledgement", producer.send(Record::of("t", value))).await.unwrap();
    }
    assert!(scene.cluster.node(scene.leader).unwrap().is_alive());
    assert!(in_time("answer", producer.send(Record::of("t", "c"))).await.is_err());
    assert!(!scene.cluster.node(scene.leader).unwrap().is_alive());
}
