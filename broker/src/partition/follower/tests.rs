use super::*;

fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
    let mut epochs = LeaderEpochs::default();
    for (epoch, start) in entries {
        epochs.assign(LeaderEpoch::new(*epoch), Offset::new(*start));
    }
    epochs
}

fn held(epochs: &LeaderEpochs, log_start: i64, log_end: i64) -> Held<'_> {
    Held { log_start: Offset::new(log_start), log_end: Offset::new(log_end), epochs }
}

const NOW: Monotonic = Monotonic::from_micros(7);
const EPOCH: LeaderEpoch = LeaderEpoch::new(5);
const PAUSE_MS: i32 = 1_000;

/// Follows node 3 in epoch 5, and knows that what is below 4 is committed.
fn follows(held: Held<'_>) -> Follower {
    Follower::begin(Some(NodeId(3)), EPOCH, Offset::new(4), held).0
}

fn told(fetch_offset: i64, outcome: Result<Offered, &Refusal>) -> Told<'_> {
    Told { leader_epoch: EPOCH, fetch_offset: Offset::new(fetch_offset), outcome, log_start: Offset::ZERO }
}

fn diverging(epoch: i32, end: i64) -> Result<Offered, &'static Refusal> {
    Ok(Offered::Diverging(LeaderEpoch::new(epoch), Offset::new(end)))
}

#[test]
fn it_fetches_from_where_its_log_ends() {
    let epochs = epochs(&[(2, 0), (3, 8)]);
    let held = held(&epochs, 0, 10);
    let follower = follows(held);
    let wanted =
        Wanted { leader_epoch: EPOCH, fetch_offset: Offset::new(10), last_epoch: LeaderEpoch::new(3) };
    assert_eq!(follower.wants(NOW, held), Some(wanted));
    let (waits, cut) = Follower::begin(None, EPOCH, Offset::ZERO, held);
    assert_eq!((waits.wants(NOW, held), cut), (None, None), "nobody leads");
}

#[test]
fn only_a_log_without_epochs_is_cut_to_its_high_watermark() {
    let (with, without) = (epochs(&[(2, 0)]), epochs(&[]));
    let begin = |epochs, mark| {
        let (follower, cut) = Follower::begin(Some(NodeId(3)), EPOCH, Offset::new(mark), held(epochs, 1, 10));
        (follower.high_watermark().get(), cut.map(Offset::get))
    };
    assert_eq!(begin(&with, 4), (4, None));
    assert_eq!(begin(&without, 4), (4, Some(4)));
    assert_eq!((begin(&without, 0), begin(&without, 99)), ((1, Some(1)), (10, None)));
}

#[test]
fn an_answer_to_another_question_is_ignored() {
    let epochs = epochs(&[(2, 0)]);
    let held = held(&epochs, 0, 10);
    let mut follower = follows(held);
    let data = Ok(Offered::Batches(Some(Offset::new(9))));
    assert_eq!(follower.told(NOW, told(9, data), held, PAUSE_MS), Verdict::Ignore);
    let older = Told { leader_epoch: LeaderEpoch::new(4), ..told(10, diverging(1, 3)) };
    assert_eq!(follower.told(NOW, older, held, PAUSE_MS), Verdict::Ignore);
    assert_eq!(follower.high_watermark(), Offset::new(4));
    let (mut waits, _) = Follower::begin(None, EPOCH, Offset::ZERO, held);
    assert_eq!(waits.told(NOW, told(10, Ok(Offered::Batches(None))), held, PAUSE_MS), Verdict::Ignore);
}

#[test]
fn the_high_watermark_is_the_leaders_as_far_as_the_log_reaches_and_may_go_down() {
    let epochs = epochs(&[(2, 0)]);
    let before = held(&epochs, 0, 10);
    let mut follower = follows(before);
    let data = Ok(Offered::Batches(Some(Offset::new(10))));
    assert_eq!(follower.told(NOW, told(10, data), before, PAUSE_MS), Verdict::Append);
    let after = held(&epochs, 0, 12);
    let followed =
        |moved, log_start: Option<i64>| Ok(Followed { moved, log_start: log_start.map(Offset::new) });
    assert_eq!(follower.appended(after, Offset::new(20), Offset::ZERO), followed(true, None));
    assert_eq!(follower.high_watermark(), Offset::new(12));
    assert_eq!(follower.appended(after, Offset::new(12), Offset::new(3)), followed(false, Some(3)));
    assert_eq!(follower.appended(after, Offset::new(6), Offset::ZERO), followed(true, None));
    assert_eq!(follower.high_watermark(), Offset::new(6));
}

#[test]
fn a_leader_whose_log_begins_past_what_is_committed_here_cannot_be_followed() {
    let epochs = epochs(&[(2, 0)]);
    let held = held(&epochs, 0, 10);
    let mut follower = follows(held);
    assert!(follower.appended(held, Offset::new(6), Offset::new(7)).is_err());
    assert!(follower.has_failed() && follower.wants(NOW, held).is_none());
    assert_eq!(follower.told(NOW, told(10, Ok(Offered::Batches(None))), held, PAUSE_MS), Verdict::Ignore);
}

#[test]
fn a_log_that_went_another_way_is_cut_where_the_epochs_say() {
    let cut = |own: &[(i32, i64)], outcome| {
        let epochs = epochs(own);
        let held = held(&epochs, 0, 10);
        let mut follower = follows(held);
        let verdict = follower.told(NOW, told(10, outcome), held, PAUSE_MS);
        (verdict, follower.high_watermark().get())
    };
    let to = |end, mark| (Verdict::Truncate(Offset::new(end)), mark);
    // The epoch is known here: where it ended first.
    assert_eq!(cut(&[(2, 0), (3, 6)], diverging(2, 5)), to(5, 4));
    assert_eq!(cut(&[(2, 0), (3, 6)], diverging(2, 8)), to(6, 4));
    assert_eq!(cut(&[(2, 0)], diverging(2, 8)), to(8, 4));
    // Below what is believed to be committed: so far goes the high watermark.
    assert_eq!(cut(&[(2, 0)], diverging(2, 3)), to(3, 3));
    // The epoch is not known here: an earlier one is, and asked about next (KIP-279).
    assert_eq!(cut(&[(1, 0), (3, 6)], diverging(2, 5)), to(6, 4));
    // None that early is known: where the leader says, but no further than to where the first begins.
    assert_eq!(cut(&[(3, 2)], diverging(2, 5)), to(2, 2));
    assert_eq!(cut(&[], diverging(5, 8)), to(8, 4));
    // A term without a record is forgotten.
    assert_eq!(cut(&[(2, 0), (3, 10)], diverging(2, 12)), to(10, 4));
    // What changes nothing is not tried again at once.
    assert_eq!(cut(&[(2, 0)], diverging(2, 12)).0, Verdict::BackOff);
}

/// Found by the lab: cut alone, it had no place for the batch within which its leader's log begins, and followed no more.
#[test]
fn a_log_that_has_nothing_in_common_with_what_its_leader_still_has_starts_anew() {
    let epochs = epochs(&[(0, 0)]);
    let verdict = |begins, end, log_start| {
        let held = held(&epochs, begins, 48);
        let mut follower = follows(held);
        let told = Told { log_start: Offset::new(log_start), ..told(48, diverging(0, end)) };
        (follower.told(NOW, told, held, PAUSE_MS), follower.high_watermark().get())
    };
    let anew = |from| Verdict::RestartDiverged { from: Offset::new(from), at: Offset::new(11) };
    assert_eq!(verdict(0, 11, 11), (anew(11), 11));
    assert_eq!(verdict(0, 5, 11), (anew(5), 11));
    assert_eq!(verdict(0, 12, 11).0, Verdict::Truncate(Offset::new(12)), "11 is of both");
    assert_eq!(verdict(11, 11, 11).0, Verdict::Truncate(Offset::new(11)), "it begins there itself");
}

#[test]
fn a_log_that_ends_before_the_leaders_begins_starts_anew_there() {
    let epochs = epochs(&[(2, 0)]);
    let held = held(&epochs, 0, 10);
    let mut follower = follows(held);
    let out =
        |log_start| Told { log_start: Offset::new(log_start), ..told(10, Err(&Refusal::OffsetOutOfRange)) };
    assert_eq!(follower.told(NOW, out(12), held, PAUSE_MS), Verdict::RestartAt(Offset::new(12)));
    assert_eq!(follower.high_watermark(), Offset::new(12));
    assert_eq!(follows(held).told(NOW, out(3), held, PAUSE_MS), Verdict::BackOff);
}

#[test]
fn an_empty_log_may_begin_within_a_batch_and_no_other_may_overlap() {
    let none = epochs(&[]);
    let first = |log_start, first| {
        let held = held(&none, log_start, 10);
        let outcome = Ok(Offered::Batches(Some(Offset::new(first))));
        Follower::begin(Some(NodeId(3)), EPOCH, Offset::new(10), held).0.told(NOW, told(10, outcome), held, 0)
    };
    assert_eq!(first(10, 8), Verdict::RestartAndAppend(Offset::new(8)));
    assert_eq!(first(9, 8), Verdict::Fail);
    assert_eq!((first(10, 10), first(9, 12)), (Verdict::Append, Verdict::Append), "compaction leaves gaps");
}

#[test]
fn refusals_are_waited_out_but_not_a_leader_of_a_later_epoch() {
    let epochs = epochs(&[(2, 0)]);
    let held = held(&epochs, 0, 10);
    let mut follower = follows(held);
    let unknown = Refusal::UnknownLeaderEpoch;
    assert_eq!(follower.told(NOW, told(10, Err(&unknown)), held, PAUSE_MS), Verdict::BackOff);
    let again = follower.next_deadline().expect("it asks again");
    assert_eq!(again, NOW.plus_ms(PAUSE_MS));
    assert!(follower.wants(NOW, held).is_none() && follower.wants(again, held).is_some());
    assert_eq!(follower.told(again, told(10, Ok(Offered::Batches(None))), held, PAUSE_MS), Verdict::Append);
    assert_eq!(follower.next_deadline(), None);
    let fenced = Refusal::FencedLeaderEpoch { leader: NodeId(3), epoch: LeaderEpoch::new(6) };
    assert_eq!(follower.told(NOW, told(10, Err(&fenced)), held, PAUSE_MS), Verdict::Fail);
    assert!(follower.has_failed() && follower.next_deadline().is_none());
    assert!(!follows(held).has_failed(), "the next epoch begins anew");
}
