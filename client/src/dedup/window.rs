//! What is remembered of one partition: the ids of its last records, as a pure function of the log from where reading began.

use std::collections::BTreeMap;

use highwater_protocol::Uuid;
use highwater_storage::{Offset, TimestampMs};
use twox_hash::XxHash3_128;

/// An id as it is remembered: 128 bits of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    pub(super) fn of(id: &[u8]) -> Self {
        Self(XxHash3_128::oneshot(id))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    turn: u64,
    time: TimestampMs,
}

/// The ids of a partition's last records.
///
/// A record is a duplicate when its id is among the `max_ids` ids that occurred last before it, and occurred at most
/// `max_age_ms` before it, by the records' own times. Each occurrence renews an id, also that of a duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    max_ids: usize,
    max_age_ms: i64,
    /// Behind the last record that was looked at.
    next: Offset,
    turns: u64,
    seen: BTreeMap<Fingerprint, Seen>,
    /// The same, the one that occurred last at the end.
    in_turn: BTreeMap<u64, Fingerprint>,
}

/// What begins the text of a window; the number is the version of what follows.
const HEAD: &str = "highwater-dedup 1";

/// The most an id takes in the text: its 22 characters, a space, and its time in hexadecimal, relative to the first.
const MAX_ID_CHARACTERS: usize = 22 + 1 + 16;

/// The ids of which any fit into the metadata of a commit: brokers take 4096 characters by default.
pub(super) const MAX_IDS_IN_A_COMMIT: usize = 100;
const _: () = assert!(HEAD.len() + 1 + 20 + MAX_IDS_IN_A_COMMIT * (MAX_ID_CHARACTERS + 1) <= 4096);

impl Window {
    pub(super) const fn new(max_ids: usize, max_age_ms: i64, next: Offset) -> Self {
        Self { max_ids, max_age_ms, next, turns: 0, seen: BTreeMap::new(), in_turn: BTreeMap::new() }
    }

    /// Looks at the next record: whether it is the first with its id. One that has no id always is.
    ///
    /// Going back in the log (by a seek, or to what was committed) forgets everything: what is read again is given again.
    pub(super) fn is_first(&mut self, offset: Offset, time: TimestampMs, id: Option<Fingerprint>) -> bool {
        if offset < self.next {
            self.seen.clear();
            self.in_turn.clear();
        }
        self.next = Offset::new(offset.get().saturating_add(1));
        let Some(id) = id else { return true };
        let before = self.remember(id, time);
        before.is_none_or(|before| time.get().saturating_sub(before.get()) > self.max_age_ms)
    }

    /// Notes an occurrence; returns the time of the one before.
    fn remember(&mut self, id: Fingerprint, time: TimestampMs) -> Option<TimestampMs> {
        self.turns += 1;
        let before = self.seen.insert(id, Seen { turn: self.turns, time });
        if let Some(before) = before {
            self.in_turn.remove(&before.turn);
        }
        self.in_turn.insert(self.turns, id);
        if self.in_turn.len() > self.max_ids
            && let Some((_, oldest)) = self.in_turn.pop_first()
        {
            self.seen.remove(&oldest);
        }
        before.map(|before| before.time)
    }

    /// What is remembered, as text: a line of words, the id that occurred last at the end.
    pub(super) fn to_text(&self) -> String {
        use std::fmt::Write;
        let mut text = HEAD.to_owned();
        let times = self.in_turn.values().filter_map(|id| Some((id, self.seen.get(id)?.time.get())));
        let base = times.clone().map(|(_, time)| time).min().unwrap_or(0);
        // Writing to a string cannot fail.
        let _ = write!(text, " {base}");
        for (id, time) in times {
            // Later than the first, in whichever way that is written.
            let later = time.wrapping_sub(base).cast_unsigned();
            let _ = write!(text, " {}{later:x}", Uuid(id.0.to_be_bytes()));
        }
        text
    }

    /// Remembers what a text says that was written where the next record is the one at `next`; nothing where it is none of
    /// ours. Of more than it may remember, it remembers the last.
    pub(super) fn from_text(text: &str, max_ids: usize, max_age_ms: i64, next: Offset) -> Self {
        let mut window = Self::new(max_ids, max_age_ms, next);
        let Some(ids) = read(text) else { return window };
        for (id, time) in ids {
            window.remember(id, time);
        }
        window
    }
}

fn read(text: &str) -> Option<Vec<(Fingerprint, TimestampMs)>> {
    let mut words = text.strip_prefix(HEAD)?.strip_prefix(' ')?.split(' ');
    let base: i64 = words.next()?.parse().ok()?;
    let one = |word: &str| {
        let (id, later) = word.split_at_checked(22)?;
        let id: Uuid = id.parse().ok()?;
        let later = u64::from_str_radix(later, 16).ok()?;
        let time = TimestampMs::new(base.wrapping_add(later.cast_signed()));
        Some((Fingerprint(u128::from_be_bytes(id.0)), time))
    };
    words.map(one).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Offset, time and id of the records of a partition, in their order.
    type Log = Vec<(i64, i64, Option<u8>)>;

    fn log() -> impl Strategy<Value = Log> {
        let record = (1..4_i64, 0..100_i64, prop::option::weighted(0.9, 0..12_u8));
        prop::collection::vec(record, 0..120).prop_map(|records| {
            let mut offset = 0;
            let step = |(gap, time, id)| {
                offset += gap;
                (offset, time, id)
            };
            records.into_iter().map(step).collect()
        })
    }

    /// Which records are the first of their id, said anew for each by looking back over the log.
    fn firsts(log: &Log, max_ids: usize, max_age_ms: i64) -> Vec<bool> {
        let is_first = |index: usize| {
            let (_, time, Some(id)) = log[index] else { return true };
            let mut others: Vec<u8> = Vec::new();
            for (_, earlier, other) in log[..index].iter().rev() {
                let Some(other) = other else { continue };
                if *other == id {
                    return time - earlier > max_age_ms;
                }
                if !others.contains(other) {
                    others.push(*other);
                }
                if others.len() == max_ids {
                    return true;
                }
            }
            true
        };
        (0..log.len()).map(is_first).collect()
    }

    fn look(window: &mut Window, log: &[(i64, i64, Option<u8>)]) -> Vec<bool> {
        let look = |(offset, time, id): &(i64, i64, Option<u8>)| {
            let id = id.map(|id| Fingerprint::of(&[id]));
            window.is_first(Offset::new(*offset), TimestampMs::new(*time), id)
        };
        log.iter().map(look).collect()
    }

    proptest! {
        #[test]
        fn a_record_is_a_duplicate_by_what_came_before_it_in_the_log_alone(
            log in log(), max_ids in 1..10_usize, max_age_ms in 0..80_i64,
        ) {
            let mut window = Window::new(max_ids, max_age_ms, Offset::ZERO);
            prop_assert_eq!(look(&mut window, &log), firsts(&log, max_ids, max_age_ms));
            prop_assert!(window.seen.len() == window.in_turn.len() && window.seen.len() <= max_ids);
        }

        #[test]
        fn a_window_that_was_kept_goes_on_as_if_nothing_had_happened(
            log in log(), cut in any::<prop::sample::Index>(), max_ids in 1..10_usize, max_age_ms in 0..80_i64,
        ) {
            let cut = cut.index(log.len() + 1);
            let mut window = Window::new(max_ids, max_age_ms, Offset::ZERO);
            let mut told = look(&mut window, &log[..cut]);
            let mut kept = Window::from_text(&window.to_text(), max_ids, max_age_ms, window.next);
            told.extend(look(&mut kept, &log[cut..]));
            prop_assert_eq!(told, firsts(&log, max_ids, max_age_ms));
        }

        #[test]
        fn text_of_somebody_else_is_nothing_to_remember(text in ".*", rest in "( -?[0-9]{0,20})?( [ -~é]{20,40}){0,3}") {
            let empty = Window::new(5, 5, Offset::ZERO);
            prop_assert_eq!(Window::from_text(&text, 5, 5, Offset::ZERO), empty);
            // Whatever comes behind our own words, it is read or not, and never more than there is room for.
            let window = Window::from_text(&format!("{HEAD}{rest}"), 2, 5, Offset::ZERO);
            prop_assert!(window.seen.len() == window.in_turn.len() && window.seen.len() <= 2);
        }
    }

    #[test]
    fn what_is_read_again_is_given_again() {
        let mut window = Window::new(10, 1000, Offset::ZERO);
        let log = [(0, 0, Some(1)), (1, 0, Some(2)), (2, 0, Some(1))];
        assert_eq!(look(&mut window, &log), [true, true, false]);
        assert_eq!(look(&mut window, &log[1..]), [true, true], "from where it goes back to");
        assert_eq!(look(&mut window, &[(3, 0, Some(2))]), [false]);
    }

    #[test]
    fn as_many_ids_as_may_be_fit_into_a_commit_whatever_their_times_are() {
        let mut window = Window::new(MAX_IDS_IN_A_COMMIT, i64::MAX, Offset::ZERO);
        for number in 0..MAX_IDS_IN_A_COMMIT * 2 {
            let time = if number % 2 == 0 { i64::MIN } else { i64::MAX };
            let id = Fingerprint::of(&number.to_be_bytes());
            let offset = Offset::new(i64::try_from(number).unwrap());
            assert!(window.is_first(offset, TimestampMs::new(time), Some(id)));
        }
        let text = window.to_text();
        assert!(text.len() <= 4096, "{}", text.len());
        let kept = Window::from_text(&text, MAX_IDS_IN_A_COMMIT, i64::MAX, window.next);
        assert_eq!(kept.to_text(), text);
    }
}
