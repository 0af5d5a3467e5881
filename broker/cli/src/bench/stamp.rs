//! Which record of which run a value is.

use std::time::{SystemTime, UNIX_EPOCH};

/// What a stamp takes of a value.
pub(super) const STAMP_BYTES: usize = 16;
/// The number of the records with which connections are tried.
const WARM_UP: u64 = u64::MAX;

/// The mark of a run, so that its records are known among others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp(u64);

/// What a value turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamped {
    WarmUp,
    Number(u64),
    /// Of another run, or of no run.
    Foreign,
}

impl Stamp {
    pub(super) fn of_now() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::from(since_1970.subsec_nanos()) << 32 | u64::from(std::process::id()))
    }

    /// Marks a value, which has room for it.
    pub(super) fn mark(self, value: &mut [u8], number: u64) {
        value[..8].copy_from_slice(&self.0.to_be_bytes());
        value[8..STAMP_BYTES].copy_from_slice(&number.to_be_bytes());
    }

    pub(super) fn warm_up(self) -> [u8; STAMP_BYTES] {
        let mut value = [0; STAMP_BYTES];
        self.mark(&mut value, WARM_UP);
        value
    }

    pub(super) fn read(self, value: Option<&[u8]>) -> Stamped {
        let mark = value.and_then(|value| value.first_chunk::<STAMP_BYTES>());
        let Some((run, number)) = mark.and_then(|mark| mark.split_first_chunk::<8>()) else {
            return Stamped::Foreign;
        };
        let number = number.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        match u64::from_be_bytes(*run) {
            run if run != self.0 => Stamped::Foreign,
            _ if number == WARM_UP => Stamped::WarmUp,
            _ => Stamped::Number(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_runs_and_records_apart() {
        let (ours, other) = (Stamp(1), Stamp(2));
        let mut value = [9; STAMP_BYTES + 4];
        ours.mark(&mut value, 7);
        assert_eq!(ours.read(Some(&value)), Stamped::Number(7));
        assert_eq!(other.read(Some(&value)), Stamped::Foreign);
        assert_eq!(ours.read(Some(&value[..STAMP_BYTES - 1])), Stamped::Foreign);
        assert_eq!(ours.read(None), Stamped::Foreign);
        assert_eq!(ours.read(Some(&ours.warm_up())), Stamped::WarmUp);
        assert_eq!(value[STAMP_BYTES..], [9; 4]);
    }
}
