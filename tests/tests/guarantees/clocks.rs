//! Rows about the wall clock, which somebody sets while the broker runs. What waits, waits by the other clock.

use highwater_protocol::ErrorCode;
use highwater_protocol::messages::FetchRequest;
use highwater_tests::batches::{batch, headers_in};
use highwater_tests::guarantees::Way;
use highwater_tests::guarantees::judge::Run;
use highwater_tests::guarantees::words::{Acks, Mode, Told};
use highwater_tests::requests::{FETCH, PRODUCE, fetch, fetched, produce, produced};

use crate::disk::{Came, Desk};
use crate::plays_at_once;

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// What looks for old segments, and for producers to forget, has looked by then.
const CHECKS_MICROS: u64 = 15 * 60 * 1_000_000;

/// A fetch that waits goes on waiting when the wall clock is set, as long as it said and no longer.
fn sets_the_clock(desk: &mut Desk, ahead_ms: i64) {
    const WAIT_MS: i32 = 10_000;
    const READER: u64 = 1;
    let end = i64::try_from(desk.values().len()).unwrap();
    let request = FetchRequest { max_wait_ms: WAIT_MS, ..fetch("t", 0, end) };
    assert!(desk.world.send(READER, &request, FETCH).is_empty(), "there is nothing to read");
    desk.world.set_wall_clock(ahead_ms);
    let micros = u64::from(WAIT_MS.unsigned_abs()) * 1000;
    assert!(desk.world.pass(micros / 2).is_empty(), "too early");
    assert_eq!(desk.world.pass(micros / 2).len(), 1, "too late");
}

/// Past the time after which a producer is forgotten (a day), or past the retention (a week).
#[test]
fn row_18_the_clock_jumps_ahead() {
    plays_at_once("18", &[2 * DAY_MS, 8 * DAY_MS], |way, ahead_ms| {
        let (mut desk, mut run) = (Desk::new(way), Run::default());
        run.sent("before", Told::Acknowledged);
        let met = desk.next("met");
        let came = desk.send(&met);
        let told = desk.told(came, &mut run);
        run.met("met", told);
        run.read(desk.values());
        sets_the_clock(&mut desk, ahead_ms);
        assert_eq!(
            desk.values(),
            ["before", "met"],
            "{way}: what goes by the clock goes by it when it looks"
        );
        desk.world.pass(CHECKS_MICROS);
        let is_too_old = ahead_ms > 7 * DAY_MS;
        assert_eq!(desk.values().is_empty(), is_too_old, "{way}");
        if is_too_old {
            run.endangers(["before", "met"]);
        } else {
            run.endangers(["met"]);
            if way.idempotence && way.acks != Acks::None {
                // The producer is forgotten too early, and its resend taken for a batch of somebody new.
                let again = desk.send(&met);
                assert_eq!(again, Came::Stored, "{way}");
            }
        }
        desk.sends("after", &mut run);
        let values = desk.values();
        let twice = usize::from(!is_too_old && way.idempotence && way.acks != Acks::None);
        assert_eq!(values.len(), if is_too_old { 1 } else { 3 + twice }, "{way}: {values:?}");
        run.stored(values);
        run
    });
}

/// Less or more than a record may be ahead of the clock.
#[test]
fn row_19_the_clock_jumps_back() {
    plays_at_once("19", &[-HOUR_MS / 2, -8 * DAY_MS], |way, ahead_ms| {
        let (mut desk, mut run) = (Desk::new(way), Run::default());
        run.sent("before", Told::Acknowledged);
        let met = desk.next("met");
        let came = desk.send(&met);
        let told = desk.told(came, &mut run);
        run.met("met", told);
        sets_the_clock(&mut desk, ahead_ms);
        desk.world.pass(CHECKS_MICROS);
        assert_eq!(desk.values(), ["before", "met"], "{way}");
        if way.idempotence {
            let again = desk.send(&met);
            // Its time is looked at before who sent it.
            let is_refused = matches!(again, Came::Closed | Came::Refused(ErrorCode::InvalidTimestamp));
            assert_eq!(is_refused, ahead_ms < -HOUR_MS, "{way}: {again:?}");
            assert!(is_refused || again == came, "{way}: {again:?}");
        }
        desk.sends("after", &mut run);
        run.stored(desk.values());
        run
    });
}

const WAY: Way = Way { acks: Acks::All, idempotence: false, retries: false, mode: Mode::None };

/// A producer whose clock is another one is now in the future.
#[test]
fn after_a_jump_back_records_of_later_times_are_refused() {
    let mut desk = Desk::new(WAY);
    desk.world.set_wall_clock(-2 * HOUR_MS);
    let done = produced(desk.world.ask(&produce("t", 0, -1, batch(&["of another clock"])), PRODUCE));
    assert_eq!(done.error_code, ErrorCode::InvalidTimestamp);
    assert_eq!(desk.values(), ["before"]);
}

#[test]
fn times_of_appends_go_back_with_the_clock() {
    let mut desk = Desk::with(WAY, &[("message.timestamp.type", "LogAppendTime")]);
    let before = desk.next("a");
    desk.send(&before);
    desk.world.set_wall_clock(-2 * HOUR_MS);
    let after = desk.next("b");
    desk.send(&after);
    let part = fetched(desk.world.ask(&fetch("t", 0, 1), FETCH));
    let times: Vec<_> = headers_in(&part.records.unwrap()).iter().map(|it| it.max_timestamp.get()).collect();
    assert_eq!(times.len(), 2);
    let ago_ms = times[0] - times[1];
    assert!((2 * HOUR_MS - 60_000..=2 * HOUR_MS).contains(&ago_ms), "{times:?}");
}
