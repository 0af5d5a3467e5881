//! An unclean election is told with what is lost by it, to the offset.

use highwater::NodeId;
use highwater_protocol::ErrorCode;
use highwater_tests::batches::batch;
use highwater_tests::connection::{Connection, until};
use highwater_tests::guarantees::TABLE;
use highwater_tests::guarantees::scene::{Scene, TOPIC};

use crate::failover::WAY;

/// Short, for a test: how long followers may lag, and nodes be silent.
const SETTINGS: [(&str, &str); 4] = [
    ("replica.lag.time.max.ms", "400"),
    ("unclean.leader.election.enable", "true"),
    ("broker.heartbeat.interval.ms", "100"),
    ("broker.session.timeout.ms", "1500"),
];

/// How the leader that had everything goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    /// It is killed, and what it knew of what is committed is what it wrote down last.
    Killed,
    /// It is cut off from everybody, and knows everything when it is back.
    CutOff,
}

async fn append(scene: &Scene, leader: usize, value: &str) {
    let mut connection = Connection::open(scene.address(leader)).await;
    let done = connection.produce(TOPIC, batch(&[value])).await;
    assert_eq!(done.error_code, ErrorCode::None);
}

#[tokio::test]
async fn what_an_unclean_election_takes_away_is_told_to_the_offset() {
    for goes in [Goes::Killed, Goes::CutOff] {
        // One replica in sync is enough.
        let scene = Scene::in_memory(TABLE.row("8"), WAY, &SETTINGS).await;
        let cluster = &scene.server().cluster;
        let leader = scene.leader().await;
        append(&scene, leader, "before").await;
        scene.values().await;
        let common = scene.log_end(leader).unwrap();
        scene.leave_alone(leader).await;
        for value in ["read and lost", "this, too"] {
            append(&scene, leader, value).await;
        }
        scene.until_readable("this, too").await;
        let end = scene.log_end(leader).unwrap();
        match goes {
            Goes::Killed => scene.node(leader).kill().await,
            Goes::CutOff => scene.node(leader).isolate(),
        }
        let election = until("an unclean election", async || {
            let election = cluster.unclean_elections().pop()?;
            election.lost_from.map(|_| election)
        })
        .await;
        let next = usize::try_from(election.leader.0).unwrap();
        assert_ne!(next, leader);
        assert_eq!((election.number, election.lost_from.unwrap().get()), (1, common), "{goes:?}");
        assert_eq!((election.lost_to(), &election.cut[..]), (None, &[][..]), "who had it is not back");

        append(&scene, next, "after").await;
        match goes {
            Goes::Killed => {
                scene.heal(leader);
                scene.node(leader).start().await.unwrap();
            }
            Goes::CutOff => scene.node(leader).rejoin(),
        }
        scene.until_in_sync(3).await;
        let election = cluster.unclean_elections().pop().unwrap();
        let [range] = election.cut[..] else { panic!("{goes:?}: {election:?}") };
        let id = NodeId(i32::try_from(leader).unwrap());
        assert_eq!((range.node, range.from.get(), range.to.get()), (id, common, end), "{goes:?}");
        let knew_all = range.committed.get() == end;
        assert!(knew_all || (goes == Goes::Killed && range.committed.get() >= common), "{goes:?}: {range:?}");
        assert_eq!(cluster.unclean_elections().len(), 1);
    }
}
