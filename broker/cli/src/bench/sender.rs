//! A thread that hands records to a producer, each when it is due.
//!
//! A thread, because the timers of the runtime go by the millisecond, and a small broker answers in a tenth of one.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use highwater::client::{Delivery, Error, Producer, Record};
use tokio::runtime::Handle;

use super::lane::{Lane, Sent};
use super::measured::{Measured, Times};
use super::payload::Payload;
use super::schedule::Schedule;
use super::stamp::Stamp;
use super::stop::Stop;

/// The longest sleep in one piece, so that nobody waits long who wants to stop.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// What one of several senders has to do: every `of`th record from its `place` on.
pub(super) struct Sender {
    pub(super) place: u64,
    pub(super) of: u64,
    pub(super) schedule: Schedule,
    pub(super) start: Instant,
    pub(super) producer: Producer,
    pub(super) topic: Arc<str>,
    pub(super) payload: Payload,
    /// What to mark values with, if they are to be known again.
    pub(super) stamp: Option<Stamp>,
    /// One a partition.
    pub(super) lanes: Arc<[Arc<Lane>]>,
    pub(super) records_a_turn: u64,
    pub(super) stop: Stop,
    pub(super) measured: Measured,
}

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct HandedOver {
    pub(super) records: u64,
    /// Records that could not be handed over.
    pub(super) refused: u64,
    /// How long after they were due records were handed over: the benchmark's own delay, and the wait for room.
    pub(super) late: Times,
}

impl HandedOver {
    pub(super) fn merge(&mut self, other: &Self) {
        self.records += other.records;
        self.refused += other.refused;
        self.late.merge(&other.late);
    }
}

impl Sender {
    /// Sends until the timetable ends, it is stopped, or a record cannot be sent at all.
    pub(super) fn run(mut self, runtime: &Handle) -> HandedOver {
        sharpen_sleep();
        let mut handed_over = HandedOver::default();
        let mut number = self.place;
        if self.sleep_until(Duration::ZERO).is_none() {
            return self.end(handed_over);
        }
        while !self.stop.is_set() && !self.schedule.is_over(number, self.start.elapsed()) {
            let due = match self.schedule.due(number) {
                None => Instant::now(),
                Some(after) => match self.sleep_until(after) {
                    Some(due) => due,
                    None => break,
                },
            };
            let lane = self.lane(handed_over.records);
            match self.hand_over(number, lane, runtime) {
                None => break,
                Some(Ok(delivery)) => {
                    if self.schedule.rate.is_some() {
                        handed_over.late.add(due.elapsed());
                    }
                    self.lanes[lane].push(Sent { delivery, due });
                    handed_over.records += 1;
                }
                Some(Err(error)) => {
                    self.measured.lock().fail(&error);
                    handed_over.refused += 1;
                    // Room may come yet; all else would be said of the next record, too.
                    if !matches!(error, Error::TimedOut { .. }) {
                        break;
                    }
                }
            }
            number += self.of;
        }
        self.end(handed_over)
    }

    fn end(&self, handed_over: HandedOver) -> HandedOver {
        self.lanes.iter().for_each(|lane| lane.close());
        handed_over
    }

    /// The lane whose turn it is after that many records; senders begin at different ones.
    fn lane(&self, records: u64) -> usize {
        let turn = self.place + records / self.records_a_turn;
        usize::try_from(turn % self.lanes.len() as u64).unwrap_or(0)
    }

    /// Waits for room if need be; `None` when it is stopped meanwhile.
    fn hand_over(&mut self, number: u64, lane: usize, runtime: &Handle) -> Option<Result<Delivery, Error>> {
        let value = self.payload.next();
        if let Some(stamp) = self.stamp {
            stamp.mark(value, number);
        }
        let partition = i32::try_from(lane).unwrap_or(i32::MAX);
        let record = Record::of(&self.topic, value).partition(partition);
        match self.producer.try_enqueue(&record) {
            Err(Error::BufferFull { .. } | Error::TopicNotKnownYet { .. }) => runtime.block_on(async {
                tokio::select! {
                    biased;
                    delivery = self.producer.enqueue(record) => Some(delivery),
                    () = self.stop.wait() => None,
                }
            }),
            done => Some(done),
        }
    }

    /// Sleeps until that long after the start, and says when that was; `None` when it is stopped meanwhile.
    fn sleep_until(&self, after: Duration) -> Option<Instant> {
        loop {
            // Beyond what a clock can tell, nothing is ever due.
            let due = self.start.checked_add(after);
            let left = due.map_or(LONGEST_SLEEP, |due| due.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return due;
            }
            if self.stop.is_set() {
                return None;
            }
            thread::sleep(left.min(LONGEST_SLEEP));
        }
    }
}

/// Linux lets a thread oversleep by 50 microseconds unless told otherwise, half of what is to be measured.
#[cfg(target_os = "linux")]
fn sharpen_sleep() {
    // Without it the sleep is longer, and the report says so.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

#[cfg(not(target_os = "linux"))]
fn sharpen_sleep() {}
