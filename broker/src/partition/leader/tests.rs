use super::*;
use crate::ids::{BrokerEpoch, PartitionEpoch};

const NEVER: SyncEvery = SyncEvery(i64::MAX);
const RECORD: SyncEvery = SyncEvery(1);

fn sole(sync_every: SyncEvery) -> Rules {
    Rules { sync_every, ..RULES }
}

fn leader() -> Leader {
    Leader::sole(NodeId(0), LeaderEpoch::new(5), Offset::new(0), Offset::new(10), Offset::new(10))
}

#[test]
fn the_epoch_of_a_caller_is_fenced_unknown_or_served() {
    let leader = leader();
    assert_eq!(leader.check_epoch(LeaderEpoch::NONE), Ok(()));
    assert_eq!(leader.check_epoch(LeaderEpoch::new(5)), Ok(()));
    assert_eq!(
        leader.check_epoch(LeaderEpoch::new(4)),
        Err(Refusal::FencedLeaderEpoch { leader: NodeId(0), epoch: LeaderEpoch::new(5) })
    );
    assert_eq!(leader.check_epoch(LeaderEpoch::new(6)), Err(Refusal::UnknownLeaderEpoch));
}

#[test]
fn an_append_moves_the_high_watermark_of_a_sole_replica() {
    let mut leader = leader();
    assert!(leader.grew(at(0), Offset::new(12), &sole(NEVER)));
    assert!(!leader.grew(at(0), Offset::new(12), &sole(NEVER)));
    let at = leader.positions();
    assert_eq!(
        (at.high_watermark, at.last_stable, at.log_end),
        (Offset::new(12), Offset::new(12), Offset::new(12))
    );
}

#[test]
fn who_reads_what_is_committed_stops_where_a_transaction_is_open() {
    let mut leader = leader();
    let offset = Offset::new;
    let stable = |leader: &Leader| leader.positions().bound(Isolation::ReadCommitted);
    // A batch of a transaction at 10, one more record, and its marker at 12.
    leader.undecided_from(Some(offset(10)));
    assert!(leader.grew(at(0), offset(12), &sole(NEVER)));
    assert_eq!(
        (leader.positions().bound(Isolation::ReadUncommitted), stable(&leader)),
        (offset(12), offset(10))
    );
    // It is not below the high watermark until that has moved, and then is.
    leader.undecided_from(Some(offset(10)));
    assert!(leader.grew(at(0), offset(13), &sole(NEVER)));
    assert_eq!(stable(&leader), offset(10));
    leader.undecided_from(None);
    assert_eq!(stable(&leader), offset(13));
    // What is removed is decided for good.
    leader.undecided_from(Some(offset(11)));
    leader.began_at(offset(12));
    assert_eq!(stable(&leader), offset(12));
    assert_eq!(leader.positions().log_start, offset(12));
}

#[test]
fn where_records_are_synced_first_the_high_watermark_follows_the_syncs() {
    let mut leader = leader();
    assert!(!leader.grew(at(0), Offset::new(12), &sole(RECORD)));
    assert!(leader.wants_sync(RECORD));
    assert!(!leader.grew(at(0), Offset::new(14), &sole(RECORD)));
    assert!(leader.became_durable(at(0), Offset::new(12), &sole(RECORD)));
    assert_eq!(leader.positions().bound(Isolation::ReadUncommitted), Offset::new(12));
    assert!(leader.became_durable(at(0), Offset::new(14), &sole(RECORD)) && !leader.wants_sync(RECORD));
}

#[test]
fn every_third_record_waits_for_a_sync() {
    let (mut leader, every) = (leader(), SyncEvery(3));
    assert!(leader.grew(at(0), Offset::new(12), &sole(every)) && !leader.wants_sync(every));
    assert!(!leader.grew(at(0), Offset::new(13), &sole(every)) && leader.wants_sync(every));
    assert_eq!(leader.positions().bound(Isolation::ReadCommitted), Offset::new(12));
    // One more came while the three were synced; alone it need not wait.
    assert!(!leader.grew(at(0), Offset::new(14), &sole(every)));
    assert!(leader.became_durable(at(0), Offset::new(13), &sole(every)));
    assert_eq!(leader.positions().bound(Isolation::ReadCommitted), Offset::new(14));
}

// With followers.

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const LAG_MICROS: u64 = 1_000;
const RULES: Rules = Rules { sync_every: NEVER, min_in_sync: 2, all_synced: false, lag_micros: LAG_MICROS };

fn at(micros: u64) -> Monotonic {
    Monotonic::from_micros(micros)
}

fn lives() -> Lives {
    (0..3).map(|node| (NodeId(node), BrokerEpoch(10 + i64::from(node)))).collect()
}

fn term(version: i32, in_sync: &[i32]) -> Term {
    Term {
        leader_epoch: LeaderEpoch::new(5),
        partition_epoch: PartitionEpoch(version),
        replicas: (0..3).map(NodeId).collect(),
        in_sync: in_sync.iter().copied().map(NodeId).collect(),
    }
}

/// Leads from 10 on; knows that what is below 6 is committed.
fn leads(in_sync: &[i32], rules: &Rules) -> Leader {
    let [log_start, log_end, synced, high_watermark] = [0, 10, 10, 6].map(Offset::new);
    let ends = Ends { log_start, log_end, synced, high_watermark };
    Leader::begin(at(0), NodeId(0), &term(0, in_sync), ends, &lives(), rules)
}

fn stands(node: NodeId, log_end: i64) -> FollowerAt {
    FollowerAt {
        broker_epoch: BrokerEpoch(10 + i64::from(node.0)),
        log_start: Offset::ZERO,
        log_end: Offset::new(log_end),
        last_epoch: LeaderEpoch::NONE,
        synced: Offset::ZERO,
    }
}

fn hears(leader: &mut Leader, now: u64, node: NodeId, log_end: i64, rules: &Rules) -> i64 {
    let heard = leader.fetched(at(now), node, stands(node, log_end), None, rules);
    assert!(matches!(heard, Ok(Heard::Follows { .. })), "{heard:?}");
    high_watermark(leader)
}

fn high_watermark(leader: &Leader) -> i64 {
    leader.positions().high_watermark.get()
}

fn proposed(leader: &mut Leader, now: u64, rules: &Rules) -> Option<(u32, Vec<i32>)> {
    let proposal = leader.proposal(at(now), &lives(), rules)?;
    assert_eq!(proposal.leader_epoch, LeaderEpoch::new(5));
    Some((proposal.attempt, proposal.in_sync.iter().map(|(node, _)| node.0).collect()))
}

#[test]
fn a_record_is_committed_once_all_in_sync_have_it() {
    let mut leader = leads(&[0, 1, 2], &RULES);
    assert_eq!(high_watermark(&leader), 6, "what this replica knew");
    assert_eq!(hears(&mut leader, 1, A, 10, &RULES), 6, "the other one has said nothing");
    assert_eq!(hears(&mut leader, 1, B, 8, &RULES), 8);
    assert!(!leader.is_high_watermark_known());
    assert_eq!(hears(&mut leader, 1, B, 10, &RULES), 10);
    assert!(leader.is_high_watermark_known());
    assert!(!leader.grew(at(2), Offset::new(12), &RULES));
    assert_eq!(leader.acknowledgement(Offset::new(12), &RULES), Acknowledgement::Waits);
    hears(&mut leader, 3, A, 12, &RULES);
    assert_eq!(hears(&mut leader, 3, B, 11, &RULES), 11);
    assert_eq!(leader.sent_to_all(), Offset::new(11));
}

#[test]
fn the_high_watermark_never_goes_back_within_an_epoch() {
    let mut leader = leads(&[0, 1, 2], &RULES);
    hears(&mut leader, 1, A, 10, &RULES);
    assert_eq!(hears(&mut leader, 1, B, 10, &RULES), 10);
    assert_eq!(hears(&mut leader, 1, B, 3, &RULES), 10, "a follower lost its log");
}

#[test]
fn under_min_in_sync_nothing_is_committed() {
    let mut leader = leads(&[0], &RULES);
    assert!(leader.is_under_min(&RULES));
    assert!(!leader.grew(at(1), Offset::new(12), &RULES) && high_watermark(&leader) == 6);
    assert!(!leader.renew(at(2), &term(1, &[0, 1]), &lives(), &RULES) && !leader.is_under_min(&RULES));
    assert_eq!(hears(&mut leader, 3, A, 12, &RULES), 12);
    // Never more is asked for than there are replicas.
    assert!(
        !leads(&[0, 1, 2], &Rules { min_in_sync: 9, ..RULES })
            .is_under_min(&Rules { min_in_sync: 9, ..RULES })
    );
}

#[test]
fn too_few_in_sync_are_told_after_the_append() {
    let mut leader = leads(&[0, 1], &RULES);
    assert_eq!(hears(&mut leader, 1, A, 10, &RULES), 10);
    assert_eq!(leader.acknowledgement(Offset::new(10), &RULES), Acknowledgement::Given);
    leader.renew(at(2), &term(1, &[0]), &lives(), &RULES);
    assert_eq!(leader.acknowledgement(Offset::new(10), &RULES), Acknowledgement::TooFew);
    // Who is about to be in sync counts.
    hears(&mut leader, 3, A, 10, &RULES);
    assert_eq!(leader.acknowledgement(Offset::new(10), &RULES), Acknowledgement::Given);
    assert!(leader.is_under_min(&RULES), "but for an append only who is");
}

#[test]
fn a_follower_comes_with_all_that_is_committed_and_all_that_earlier_leaders_wrote() {
    let mut leader = leads(&[0, 2], &RULES);
    hears(&mut leader, 1, A, 6, &RULES);
    assert_eq!(proposed(&mut leader, 1, &RULES), None, "the high watermark, but not the epoch's start");
    hears(&mut leader, 1, B, 10, &RULES);
    leader.grew(at(1), Offset::new(12), &RULES);
    assert_eq!(hears(&mut leader, 1, B, 12, &RULES), 12, "one that lags is not waited for");
    hears(&mut leader, 1, A, 10, &RULES);
    assert_eq!(proposed(&mut leader, 1, &RULES), None, "the epoch's start, but not the high watermark");
    hears(&mut leader, 1, A, 12, &RULES);
    assert_eq!(proposed(&mut leader, 1, &RULES), Some((1, vec![0, 2, 1])));
    assert_eq!(proposed(&mut leader, 1, &RULES), None, "it is under way");
}

#[test]
fn one_of_another_life_or_fenced_does_not_come() {
    let mut leader = leads(&[0, 2], &RULES);
    let later = FollowerAt { broker_epoch: BrokerEpoch(99), ..stands(A, 10) };
    assert!(leader.fetched(at(1), A, later, None, &RULES).is_ok());
    assert_eq!(proposed(&mut leader, 1, &RULES), None, "a life that the cluster did not tell of yet");
    let earlier = FollowerAt { broker_epoch: BrokerEpoch(1), ..stands(A, 10) };
    let refusal = Refusal::NotLeader { leader: Some(NodeId(0)), epoch: LeaderEpoch::new(5) };
    assert_eq!(leader.fetched(at(1), A, earlier, None, &RULES), Err(refusal));
    let without: Lives = [(B, BrokerEpoch(12))].into_iter().collect();
    leader.lives_changed(at(1), &without, &RULES);
    hears(&mut leader, 1, A, 10, &RULES);
    assert_eq!(proposed(&mut leader, 1, &RULES), None);
    // It waits for news and fetches no more; when the cluster has told of it, it comes.
    leader.lives_changed(at(1), &lives(), &RULES);
    assert_eq!(proposed(&mut leader, 1, &RULES), Some((1, vec![0, 2, 1])));
}

#[test]
fn who_may_be_in_sync_is_waited_for_until_it_is_known_whether_it_is() {
    let mut leader = leads(&[0, 2], &RULES);
    hears(&mut leader, 1, B, 10, &RULES);
    hears(&mut leader, 1, A, 10, &RULES);
    assert_eq!(proposed(&mut leader, 1, &RULES), Some((1, vec![0, 2, 1])));
    leader.grew(at(2), Offset::new(12), &RULES);
    let later = 3 + LAG_MICROS;
    assert_eq!(hears(&mut leader, later, B, 12, &RULES), 10, "waited for, though it lags");
    leader.refused(at(later), 7, NotChanged::Ineligible);
    assert!(!leader.tick(at(later), &RULES), "another attempt's answer");
    leader.refused(at(later), 1, NotChanged::Outdated);
    assert!(!leader.tick(at(later), &RULES), "what became of it will be told");
    assert_eq!(proposed(&mut leader, later + 10_000_000, &RULES), None);
    assert!(leader.renew(at(later), &term(1, &[0, 2]), &lives(), &RULES));
    assert_eq!(high_watermark(&leader), 12);
}

#[test]
fn a_refused_follower_is_not_waited_for_and_comes_again_later() {
    let rules = Rules { lag_micros: 0, ..RULES };
    let mut leader = leads(&[0, 2], &rules);
    hears(&mut leader, 1, B, 10, &rules);
    hears(&mut leader, 1, A, 10, &rules);
    assert_eq!(proposed(&mut leader, 1, &rules), Some((1, vec![0, 2, 1])));
    leader.grew(at(2), Offset::new(12), &rules);
    assert_eq!(hears(&mut leader, 3, B, 12, &rules), 10);
    leader.refused(at(3), 1, NotChanged::Ineligible);
    assert!(leader.tick(at(3), &rules) && high_watermark(&leader) == 12);
    assert_eq!(hears(&mut leader, 4, A, 12, &rules), 12);
    assert_eq!(proposed(&mut leader, 4, &rules), None, "not at once");
    let again = leader.next_deadline(at(4), &rules).expect("it is proposed again");
    assert_eq!(proposed(&mut leader, again.micros(), &rules), Some((2, vec![0, 2, 1])));
}

#[test]
fn an_answer_that_does_not_come_is_asked_for_again_and_only_the_last_one_counts() {
    let mut leader = leads(&[0, 2], &RULES);
    hears(&mut leader, 1, B, 10, &RULES);
    hears(&mut leader, 1, A, 10, &RULES);
    assert_eq!(proposed(&mut leader, 1, &RULES), Some((1, vec![0, 2, 1])));
    let again = leader.next_deadline(at(1), &RULES).expect("an answer is waited for").micros();
    assert_eq!(proposed(&mut leader, again - 1, &RULES), None);
    assert_eq!(proposed(&mut leader, again, &RULES), Some((2, vec![0, 2, 1])));
    leader.refused(at(again), 1, NotChanged::Ineligible);
    leader.grew(at(again), Offset::new(12), &RULES);
    let later = again + LAG_MICROS + 1;
    assert_eq!(hears(&mut leader, later, B, 12, &RULES), 10, "the second may yet be done");
    leader.refused(at(later), 2, NotChanged::Failed);
    assert_eq!(proposed(&mut leader, later, &RULES), None);
    assert!(proposed(&mut leader, later + 1_000_000, &RULES).is_some());
}

#[test]
fn who_lags_leaves_when_its_time_is_over_and_is_waited_for_until_the_cluster_agrees() {
    let mut leader = leads(&[0, 1, 2], &RULES);
    hears(&mut leader, 5, A, 10, &RULES);
    hears(&mut leader, 5, B, 10, &RULES);
    assert_eq!(leader.next_deadline(at(5), &RULES), None, "who has all does not lag");
    assert_eq!(proposed(&mut leader, 1_000_000, &RULES), None);
    // Until the log grew they had all of it.
    leader.grew(at(1_000_000), Offset::new(12), &RULES);
    hears(&mut leader, 1_000_001, A, 12, &RULES);
    let due = 1_000_001 + LAG_MICROS;
    assert_eq!(leader.next_deadline(at(1_000_001), &RULES), Some(at(due)));
    assert_eq!(proposed(&mut leader, due - 1, &RULES), None);
    assert_eq!(proposed(&mut leader, due, &RULES), Some((1, vec![0, 1])));
    assert!(!leader.tick(at(due), &RULES) && high_watermark(&leader) == 10);
    assert!(leader.renew(at(due), &term(1, &[0, 1]), &lives(), &RULES));
    assert_eq!(high_watermark(&leader), 12);
    // It fetches no more, and does not come back, wherever the high watermark stands.
    assert_eq!(proposed(&mut leader, due + 1, &RULES), None);
}

#[test]
fn a_follower_that_is_always_a_little_behind_does_not_lag() {
    let rules = Rules { lag_micros: 2_500, ..RULES };
    let mut leader = leads(&[0, 1, 2], &rules);
    for step in 0..20 {
        let (now, end) = (u64::try_from(step).expect("small") * 600, 20 + step * 10);
        leader.grew(at(now), Offset::new(end), &rules);
        // It has what there was two fetches before.
        hears(&mut leader, now, A, end - 20, &rules);
        hears(&mut leader, now, B, end, &rules);
        assert_eq!(proposed(&mut leader, now, &rules), None, "step {step}");
    }
    leader.grew(at(12_000), Offset::new(300), &rules);
    assert_eq!(proposed(&mut leader, 14_000, &rules), Some((1, vec![0, 2])));
}

#[test]
fn at_the_beginning_who_is_in_sync_has_the_lag_allowed_to_say_so() {
    let mut leader = leads(&[0, 1, 2], &RULES);
    assert_eq!(leader.next_deadline(at(0), &RULES), Some(at(LAG_MICROS + 1)));
    assert_eq!(proposed(&mut leader, LAG_MICROS, &RULES), None);
    assert_eq!(proposed(&mut leader, LAG_MICROS + 1, &RULES), Some((1, vec![0])));
}

#[test]
fn a_follower_that_catches_up_is_waited_for_before_it_is_in_sync() {
    let rules = Rules { min_in_sync: 1, ..RULES };
    let mut leader = leads(&[0], &rules);
    assert_eq!(high_watermark(&leader), 10);
    hears(&mut leader, 1, A, 10, &rules);
    assert_eq!(proposed(&mut leader, 1, &rules), Some((1, vec![0, 1])));
    leader.refused(at(1), 1, NotChanged::Ineligible);
    let (now, lags) = (2, 2 + LAG_MICROS + 1);
    assert!(!leader.grew(at(now), Offset::new(12), &rules), "it had all, and soon has this");
    assert_eq!(leader.next_deadline(at(now), &rules), Some(at(lags)));
    assert!(leader.tick(at(lags), &rules));
    assert_eq!(high_watermark(&leader), 12);
}

#[test]
fn readers_are_sent_to_who_has_most_then_lags_least_then_has_the_highest_number() {
    let sent = |leader: &Leader, now, offset, among: &[NodeId]| {
        leader.most_caught_up(at(now), Offset::new(offset), |node| among.contains(&node))
    };
    let mut leader = leads(&[0, 1, 2], &RULES);
    assert_eq!(sent(&leader, 1, 0, &[A, B]), None, "nobody has said anything");
    hears(&mut leader, 1, A, 10, &RULES);
    hears(&mut leader, 1, B, 8, &RULES);
    assert_eq!(sent(&leader, 2, 8, &[A, B]), Some(A));
    assert_eq!(sent(&leader, 2, 8, &[B]), Some(B));
    assert_eq!(sent(&leader, 2, 9, &[B]), None, "it does not have that");
    hears(&mut leader, 2, B, 10, &RULES);
    assert_eq!(sent(&leader, 9_000, 0, &[A, B]), Some(B));
    leader.grew(at(10_000), Offset::new(12), &RULES);
    hears(&mut leader, 20_000, A, 12, &RULES);
    leader.grew(at(30_000), Offset::new(14), &RULES);
    hears(&mut leader, 40_000, B, 12, &RULES);
    assert_eq!(sent(&leader, 40_000, 0, &[A, B]), Some(A), "it had all at a later time");
    let mut leader = leads(&[0, 2], &RULES);
    hears(&mut leader, 1, A, 10, &RULES);
    assert_eq!(sent(&leader, 2, 0, &[A]), None, "it is not in sync");
}

#[test]
fn where_all_sync_what_they_synced_counts() {
    let rules = Rules { sync_every: RECORD, all_synced: true, ..RULES };
    let mut leader = leads(&[0, 1], &rules);
    let says = |log_end: i64, synced: i64| FollowerAt { synced: Offset::new(synced), ..stands(A, log_end) };
    leader.grew(at(1), Offset::new(12), &rules);
    assert_eq!(leader.fetched(at(1), A, says(12, 8), None, &rules), Ok(Heard::Follows { moved: true }));
    assert_eq!(high_watermark(&leader), 8);
    assert_eq!(leader.fetched(at(1), A, says(12, 12), None, &rules), Ok(Heard::Follows { moved: true }));
    assert_eq!(high_watermark(&leader), 10, "the leader's own sync");
    assert!(leader.became_durable(at(1), Offset::new(12), &rules));
    assert_eq!((high_watermark(&leader), leader.answers_for(&rules)), (12, Offset::new(12)));
    // In mode leader only its own counts.
    let own = Rules { all_synced: false, ..rules };
    let mut leader = leads(&[0, 1], &own);
    leader.grew(at(1), Offset::new(12), &own);
    assert_eq!(hears(&mut leader, 1, A, 12, &own), 10);
    assert!(leader.became_durable(at(1), Offset::new(12), &own));
}

#[test]
fn a_fetch_from_a_log_that_went_another_way_acknowledges_nothing() {
    let mut leader = leads(&[0, 1], &RULES);
    let epochs = |epoch: i32, end: i64| Some((LeaderEpoch::new(epoch), Offset::new(end)));
    let from = |last: i32, end: i64| FollowerAt { last_epoch: LeaderEpoch::new(last), ..stands(A, end) };
    let diverges =
        |epoch: i32, end: i64| Ok(Heard::Diverges { epoch: LeaderEpoch::new(epoch), end: Offset::new(end) });
    let mut fetch = |at_follower, end| leader.fetched(at(1), A, at_follower, end, &RULES);
    assert_eq!(fetch(from(4, 9), epochs(3, 7)), diverges(3, 7), "an epoch that is not known here");
    assert_eq!(fetch(from(4, 9), epochs(3, 9)), diverges(3, 9), "and no other one passes for it");
    assert_eq!(fetch(from(4, 9), epochs(4, 8)), diverges(4, 8), "one that ended before");
    assert_eq!(fetch(from(4, 9), None), Err(Refusal::OffsetOutOfRange));
    assert_eq!(fetch(stands(A, 11), None), diverges(5, 10), "a longer log without epochs");
    assert_eq!(fetch(from(4, 9), epochs(4, 9)), Ok(Heard::Follows { moved: true }));
    assert_eq!(high_watermark(&leader), 9);
    assert_eq!(
        leader.fetched(at(1), NodeId(7), stands(A, 9), None, &RULES),
        Err(Refusal::UnknownLeaderEpoch)
    );
    leader.began_at(Offset::new(5));
    assert_eq!(leader.fetched(at(1), A, stands(A, 4), None, &RULES), Err(Refusal::OffsetOutOfRange));
}

#[test]
fn replicas_come_and_go_while_a_leader_leads() {
    let mut leader = leads(&[0, 1, 2], &RULES);
    hears(&mut leader, 1, A, 10, &RULES);
    assert!(!leader.renew(at(1), &term(-1, &[0]), &lives(), &RULES), "older than what is known");
    assert_eq!(leader.in_sync().map(|it| it.len()), Some(3));
    let without_b = Term { replicas: [NodeId(0), A].into(), ..term(1, &[0, 1]) };
    assert!(leader.renew(at(1), &without_b, &lives(), &RULES));
    assert_eq!((high_watermark(&leader), leader.follower(B)), (10, None));
    leader.grew(at(1), Offset::new(12), &RULES);
    let alone = Term { replicas: [NodeId(0)].into(), ..term(2, &[0]) };
    assert!(leader.renew(at(2), &alone, &lives(), &RULES));
    assert_eq!((high_watermark(&leader), leader.in_sync()), (12, None));
    assert!(!leader.renew(at(3), &term(3, &[0]), &lives(), &RULES));
    assert!(leader.is_under_min(&RULES));
}

#[test]
fn a_sole_replica_costs_little_and_asks_for_nothing() {
    let sole = Term { replicas: [NodeId(0)].into(), ..term(0, &[0]) };
    let [log_start, log_end, synced, high_watermark] = [0, 10, 4, 2].map(Offset::new);
    let ends = Ends { log_start, log_end, synced, high_watermark };
    let mut leader = Leader::begin(at(0), NodeId(0), &sole, ends, &lives(), &RULES);
    assert_eq!(leader.positions().high_watermark, log_end, "the only replica has all that is committed");
    assert_eq!((leader.proposal(at(9), &lives(), &RULES), leader.next_deadline(at(9), &RULES)), (None, None));
    assert!(size_of::<Leader>() <= 128, "{}", size_of::<Leader>());
    let durable = Rules { sync_every: RECORD, ..RULES };
    let leader = Leader::begin(at(0), NodeId(0), &sole, ends, &lives(), &durable);
    assert_eq!(leader.positions().high_watermark, synced);
    assert!(leader.wants_sync(RECORD) && !leader.is_high_watermark_known());
}

#[test]
fn a_leader_answers_alone_for_what_was_promised_of_it_and_for_what_is_committed() {
    let own_sync = Rules { sync_every: RECORD, ..RULES };
    let all_sync = Rules { all_synced: true, ..own_sync };
    let mut leader = leads(&[0, 1, 2], &RULES);
    leader.grew(at(1), Offset::new(12), &RULES);
    let answers = |leader: &Leader, rules| leader.answers_for(&rules).get();
    let all = |leader: &Leader| [RULES, own_sync, all_sync].map(|rules| answers(leader, rules));
    assert_eq!(all(&leader), [12, 10, 6], "what it wrote, synced, and knows all to have synced");
    for node in [A, B] {
        hears(&mut leader, 2, node, 11, &RULES);
    }
    assert_eq!(all(&leader), [12, 11, 11], "more is promised now, but that was committed");
}

#[test]
fn who_comes_into_the_set_has_the_lag_allowed_to_catch_up() {
    let mut leader = leads(&[0, 2], &RULES);
    hears(&mut leader, 1, B, 10, &RULES);
    leader.grew(at(2), Offset::new(12), &RULES);
    // It has all that is committed, and never had all that there was.
    hears(&mut leader, 3, A, 10, &RULES);
    assert_eq!(proposed(&mut leader, 3, &RULES), Some((1, vec![0, 2, 1])));
    leader.renew(at(4), &term(1, &[0, 2, 1]), &lives(), &RULES);
    hears(&mut leader, 4, B, 12, &RULES);
    assert_eq!(proposed(&mut leader, 4 + LAG_MICROS, &RULES), None);
    assert_eq!(proposed(&mut leader, 5 + LAG_MICROS, &RULES), Some((2, vec![0, 2])));
}

#[test]
fn who_left_comes_back_when_it_fetches_again_and_no_sooner() {
    let mut leader = leads(&[0, 1], &RULES);
    hears(&mut leader, 1, A, 10, &RULES);
    leader.grew(at(2), Offset::new(12), &RULES);
    let late = 3 + LAG_MICROS;
    assert_eq!(proposed(&mut leader, late, &RULES), Some((1, vec![0])));
    leader.renew(at(late), &term(1, &[0]), &lives(), &RULES);
    // Too few are in sync: the high watermark stays where it stands.
    assert_eq!((high_watermark(&leader), proposed(&mut leader, late, &RULES)), (10, None));
    hears(&mut leader, late + 1, A, 10, &RULES);
    assert_eq!(proposed(&mut leader, late + 1, &RULES), Some((2, vec![0, 1])));
}

#[test]
fn who_is_proposed_is_so_in_the_life_in_which_it_said_what_it_has() {
    let mut leader = leads(&[0, 2], &RULES);
    hears(&mut leader, 1, B, 10, &RULES);
    hears(&mut leader, 1, A, 10, &RULES);
    // It begins another life, which may have less, before that is asked.
    let life = |node, life| (NodeId(node), BrokerEpoch(life));
    let anew: Lives = [life(0, 10), life(1, 99), life(2, 12)].into_iter().collect();
    leader.lives_changed(at(1), &anew, &RULES);
    let proposal = leader.proposal(at(1), &anew, &RULES).expect("it was decided");
    let lives: Vec<_> =
        proposal.in_sync.iter().map(|(node, life)| (node.0, life.map(|life| life.0))).collect();
    assert_eq!(lives, [(0, Some(10)), (2, Some(12)), (1, Some(11))]);
}
