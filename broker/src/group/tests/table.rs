//! Every state of a group against every request (semantics, 6.1 and 6.2).

use super::*;

/// What a request is answered; none while it waits.
type Answer = Option<Result<(), Refusal>>;

/// A group in each state, in generation `n`, with its leader and the other member as far as there are any.
fn groups() -> Vec<(&'static str, Bench, MemberId, Generation)> {
    let nobody = MemberId::from("nobody");
    let mut empty = Bench::new();
    empty.commit(&commit_alone(), 1).unwrap();
    let (mut preparing, leader, _) = Bench::pair();
    preparing.ask_to_join(&join(""));
    let (mut completing, second) = Bench::stable();
    let (_, told) = completing.join_now(&rejoin(&second)).unwrap();
    assert_eq!(told.generation, Generation(2));
    let (stable, third, _) = Bench::pair();
    vec![
        ("none", Bench::new(), nobody.clone(), Generation(0)),
        ("Empty", empty, nobody, Generation(0)),
        ("PreparingRebalance", preparing, leader, Generation(2)),
        ("CompletingRebalance", completing, second, Generation(2)),
        ("Stable", stable, third, Generation(2)),
    ]
}

/// Asks each group the same, and compares with what is expected, state by state.
fn check(what: &str, expected: [Answer; 5], ask: impl Fn(&mut Bench, &MemberId, Generation) -> Answer) {
    for ((state, mut bench, member, generation), expected) in groups().into_iter().zip(expected) {
        assert_eq!(bench.state().unwrap_or("none"), state);
        assert_eq!(ask(&mut bench, &member, generation), expected, "{what} in {state}");
    }
}

fn asked_to_join(bench: &mut Bench, join: &JoinGroup) -> Answer {
    let ticket = bench.ask_to_join(join);
    bench.joined(ticket).map(|joined| joined.outcome.map(|_| ()))
}

fn asked_to_sync(bench: &mut Bench, sync: &SyncGroup) -> Answer {
    let ticket = bench.ask_to_sync(sync);
    bench.synced(ticket).map(|outcome| outcome.map(|_| ()))
}

const OK: Answer = Some(Ok(()));
const WAITS: Answer = None;
const UNKNOWN: Answer = Some(Err(Refusal::UnknownMember));
const REBALANCE: Answer = Some(Err(Refusal::RebalanceInProgress));
const GENERATION: Answer = Some(Err(Refusal::IllegalGeneration));
const PROTOCOL: Answer = Some(Err(Refusal::InconsistentGroupProtocol));

#[test]
fn joining() {
    check("a new member", [OK, OK, WAITS, WAITS, WAITS], |bench, _, _| asked_to_join(bench, &join("")));
    let required = Some(Err(Refusal::MemberIdRequired));
    let each = [required.clone(), required.clone(), required.clone(), required.clone(), required];
    check("a new member that asks twice", each, |bench, _, _| {
        asked_to_join(bench, &JoinGroup { asks_twice: true, ..join("") })
    });
    // The leader of a stable group asks for a rebalance.
    check("a member again", [UNKNOWN, UNKNOWN, WAITS, OK, WAITS], |bench, member, _| {
        asked_to_join(bench, &rejoin(member))
    });
    check("a stranger", [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN], |bench, _, _| {
        asked_to_join(bench, &rejoin(&"stranger".into()))
    });
    check("no protocol", [PROTOCOL, PROTOCOL, PROTOCOL, PROTOCOL, PROTOCOL], |bench, _, _| {
        asked_to_join(bench, &JoinGroup { protocols: Vec::new(), ..join("") })
    });
    check("another kind", [OK, OK, PROTOCOL, PROTOCOL, PROTOCOL], |bench, _, _| {
        asked_to_join(bench, &JoinGroup { protocol_type: "connect".into(), ..join("") })
    });
    let session = Some(Err(Refusal::InvalidSessionTimeout));
    for ms in [5_999, 1_800_001] {
        let each = [session.clone(), session.clone(), session.clone(), session.clone(), session.clone()];
        check("a session out of range", each, |bench, _, _| {
            asked_to_join(bench, &JoinGroup { session_timeout_ms: ms, ..join("") })
        });
    }
    let nameless = Some(Err(Refusal::InvalidGroup));
    let each = [nameless.clone(), nameless.clone(), nameless.clone(), nameless.clone(), nameless];
    check("a group without a name", each, |bench, _, _| {
        asked_to_join(bench, &JoinGroup { group: "".into(), session_timeout_ms: 0, ..join("") })
    });
    check("an instance nobody knows", [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN], |bench, member, _| {
        asked_to_join(bench, &JoinGroup { instance: Some("i".into()), ..rejoin(member) })
    });
}

#[test]
fn syncing() {
    check("the leader", [UNKNOWN, UNKNOWN, REBALANCE, OK, OK], |bench, member, generation| {
        asked_to_sync(bench, &sync(member, generation, &[]))
    });
    let each = [UNKNOWN, UNKNOWN, GENERATION, GENERATION, GENERATION];
    check("another generation", each, |bench, member, generation| {
        asked_to_sync(bench, &sync(member, generation.next(), &[]))
    });
    check("a stranger", [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN], |bench, _, generation| {
        asked_to_sync(bench, &sync(&"stranger".into(), generation, &[]))
    });
    let each = [UNKNOWN, UNKNOWN, PROTOCOL, PROTOCOL, PROTOCOL];
    check("another kind", each.clone(), |bench, member, generation| {
        let other = Some("connect".into());
        asked_to_sync(bench, &SyncGroup { protocol_type: other, ..sync(member, generation, &[]) })
    });
    check("another protocol", each, |bench, member, generation| {
        asked_to_sync(bench, &SyncGroup { protocol: Some("sticky".into()), ..sync(member, generation, &[]) })
    });
}

#[test]
fn heartbeats() {
    check("a member", [UNKNOWN, UNKNOWN, REBALANCE, OK, OK], |bench, member, generation| {
        Some(bench.heartbeat(member, generation))
    });
    let each = [UNKNOWN, UNKNOWN, GENERATION, GENERATION, GENERATION];
    check("another generation", each, |bench, member, generation| {
        Some(bench.heartbeat(member, generation.next()))
    });
    check("a stranger", [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN], |bench, _, generation| {
        Some(bench.heartbeat(&"stranger".into(), generation))
    });
}

#[test]
fn leaving() {
    check("a member", [UNKNOWN, UNKNOWN, OK, OK, OK], |bench, member, _| {
        Some(bench.leave(&[leaver(member.as_str(), None)]).remove(0))
    });
    check("nobody", [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN], |bench, _, _| {
        Some(bench.leave(&[leaver("", None)]).remove(0))
    });
}

#[test]
fn committing() {
    let gone = Some(Err(Refusal::GroupNotFound));
    let each = [gone.clone(), UNKNOWN, OK, REBALANCE, OK];
    check("a member", each, |bench, member, generation| {
        Some(bench.commit(&commit_of(member, generation), 2))
    });
    let each = [gone, UNKNOWN, GENERATION, GENERATION, GENERATION];
    check("another generation", each, |bench, member, generation| {
        Some(bench.commit(&commit_of(member, generation.next()), 2))
    });
    check("someone in no group", [OK, OK, UNKNOWN, UNKNOWN, UNKNOWN], |bench, _, _| {
        Some(bench.commit(&commit_alone(), 2))
    });
    let each = [OK, OK, GENERATION, GENERATION, GENERATION];
    check("a member without a generation", each, |bench, member, _| {
        Some(bench.commit(&commit_of(member, Generation(-1)), 2))
    });
}

#[test]
fn administration() {
    let gone = Some(Err(Refusal::GroupNotFound));
    let in_use = Some(Err(Refusal::NonEmptyGroup));
    let each = [gone.clone(), OK, in_use.clone(), in_use.clone(), in_use];
    check("deleting", each, |bench, _, _| {
        Some(bench.turn(|coordinator, turn, _| coordinator.delete(turn, &"g".into())).1)
    });
    let read = Some(Err(Refusal::GroupSubscribedToTopic));
    check("deleting offsets", [gone.clone(), OK, read.clone(), read.clone(), read], |bench, _, _| {
        let ask = |coordinator: &mut Coordinator, turn: &mut Turn<'_>, _| {
            coordinator.delete_offsets(turn, &"g".into(), &[("t".into(), PartitionIndex(0))])
        };
        Some(bench.turn(ask).1.and_then(|mut outcomes| outcomes.remove(0)))
    });
    check("describing", [gone, OK, OK, OK, OK], |bench, _, _| {
        Some(bench.coordinator.describe(&"g".into()).map(|_| ()))
    });
}
