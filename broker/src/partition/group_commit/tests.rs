use std::collections::BTreeMap;

use highwater_storage::TopicId;
use proptest::prelude::*;

use super::*;
use crate::ids::PartitionIndex;

fn at(micros: u64) -> Monotonic {
    Monotonic::from_micros(micros)
}

fn part(index: i32) -> Watched {
    (TopicId::ZERO, PartitionIndex(index))
}

fn who(id: u64) -> Option<ConnectionId> {
    Some(ConnectionId(id))
}

fn parts(indexes: &[i32]) -> BTreeSet<Watched> {
    indexes.iter().map(|index| part(*index)).collect()
}

#[test]
fn what_comes_during_a_turn_is_for_the_next_one() {
    let mut commit = GroupCommit::default();
    commit.want(part(0), who(1));
    assert_eq!(commit.begin(at(0)), parts(&[0]));
    commit.want(part(0), who(2));
    commit.want(part(1), who(3));
    assert_eq!(commit.begin(at(10)), parts(&[]));
    commit.want(part(1), who(1));
    commit.ended(at(100), part(0));
    // Everyone there is has come: nobody to wait for.
    assert_eq!(commit.deadline(), None);
    assert_eq!(commit.begin(at(100)), parts(&[0, 1]));
    commit.ended(at(150), part(1));
    assert_eq!(commit.begin(at(150)), parts(&[]));
    commit.ended(at(200), part(0));
    assert_eq!(commit.begin(at(200)), parts(&[]), "nobody wants anything");
}

#[test]
fn a_turn_waits_for_those_it_has_just_served_but_no_longer_than_it_took() {
    let mut commit = GroupCommit::default();
    commit.want(part(0), who(1));
    commit.want(part(0), who(2));
    assert_eq!(commit.begin(at(1_000)), parts(&[0]));
    commit.ended(at(1_300), part(0));
    assert_eq!(commit.deadline(), None, "nothing is wanted");
    commit.want(part(0), who(1));
    assert_eq!((commit.begin(at(1_400)), commit.deadline()), (parts(&[]), Some(at(1_600))));
    // The other one comes: go.
    commit.want(part(0), who(2));
    assert_eq!((commit.deadline(), commit.begin(at(1_401))), (None, parts(&[0])));
    commit.ended(at(1_701), part(0));
    // This time it does not come.
    commit.want(part(0), who(1));
    assert_eq!(commit.begin(at(2_000)), parts(&[]));
    assert_eq!(commit.begin(at(2_001)), parts(&[0]));
    commit.ended(at(2_301), part(0));
    // Nor is it waited for again.
    commit.want(part(0), who(1));
    assert_eq!(commit.begin(at(2_302)), parts(&[0]));
}

#[test]
fn whoever_is_gone_is_not_waited_for() {
    let mut commit = GroupCommit::default();
    commit.want(part(0), who(1));
    commit.want(part(0), who(2));
    commit.begin(at(0));
    commit.ended(at(500), part(0));
    commit.want(part(0), who(1));
    assert_eq!(commit.begin(at(500)), parts(&[]));
    commit.forget(ConnectionId(2));
    assert_eq!(commit.begin(at(500)), parts(&[0]));
}

#[test]
fn never_two_syncs_of_one_log_are_under_way() {
    let mut commit = GroupCommit::default();
    assert!(commit.occupy(part(0)) && !commit.occupy(part(0)));
    commit.want(part(0), who(1));
    assert_eq!(commit.begin(at(0)), parts(&[]));
    commit.want(part(1), who(2));
    assert_eq!(commit.begin(at(0)), parts(&[1]), "others need not wait");
    assert!(!commit.occupy(part(1)));
    commit.vacate(part(0));
    commit.ended(at(5), part(1));
    assert_eq!(commit.begin(at(10)), parts(&[0]));
}

#[derive(Debug, Clone)]
enum Step {
    Want(i32, Option<u64>),
    Begin,
    End(i32),
    Forget(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3i32, prop::option::of(0..4u64)).prop_map(|(part, who)| Step::Want(part, who)),
        3 => Just(Step::Begin),
        3 => (0..3i32).prop_map(Step::End),
        1 => (0..4u64).prop_map(Step::Forget),
        2 => (1..5_000u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Beside a model that knows of each partition only how often it was wanted and up to which want it was synced.
    #[test]
    fn no_want_is_lost_and_no_lone_producer_waits(steps in prop::collection::vec(step(), 1..80)) {
        let mut commit = GroupCommit::default();
        let (mut now, mut wants) = (0u64, 0u64);
        let mut wanted = BTreeMap::<Watched, u64>::new();
        let mut running = BTreeMap::<Watched, u64>::new();
        let (mut producers, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Want(index, id) => {
                    wants += 1;
                    producers.extend(id);
                    waiting.extend(id);
                    commit.want(part(index), id.map(ConnectionId));
                    wanted.insert(part(index), wants);
                }
                Step::Begin => {
                    let begun = commit.begin(at(now));
                    if begun.is_empty() {
                        // It runs, or there is nothing to do, or it says until when it waits and that is not over.
                        let waits = commit.deadline().is_some_and(|deadline| deadline > at(now));
                        prop_assert!(!running.is_empty() || wanted.is_empty() || waits);
                        let alone = !waiting.is_empty() && producers.len() == 1;
                        prop_assert!(!waits || !alone, "a lone producer waits");
                    } else {
                        prop_assert!(running.is_empty());
                        prop_assert_eq!(&begun, &wanted.keys().copied().collect());
                        running = std::mem::take(&mut wanted);
                        waiting.clear();
                    }
                }
                Step::End(index) => {
                    commit.ended(at(now), part(index));
                    running.remove(&part(index));
                }
                Step::Forget(id) => {
                    commit.forget(ConnectionId(id));
                    producers.remove(&id);
                    waiting.remove(&id);
                }
                Step::Pass(micros) => now += micros,
            }
        }
        // However it went, it comes to an end.
        for round in 0..3 {
            for partition in std::mem::take(&mut running).into_keys() {
                commit.ended(at(now), partition);
            }
            now = commit.deadline().map_or(now, |deadline| deadline.micros().max(now));
            for partition in commit.begin(at(now)) {
                running.insert(partition, wanted.remove(&partition).expect("a wanted one"));
            }
            prop_assert!(round < 1 || wanted.is_empty());
        }
        prop_assert!(wanted.is_empty() && running.is_empty());
    }
}
