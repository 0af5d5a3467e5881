//! The reading end: when did each record come, did all come, and none twice?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use highwater::client::{Client, Consumer, Offset, StartAt, TopicPartition};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::task::JoinHandle;

use super::super::failures::Failures;
use super::super::measured::Times;
use super::super::run::Run;
use super::super::schedule::Schedule;
use super::super::stamp::{Stamp, Stamped};

/// How often to look whether the senders are done, while nothing comes.
const POLL: Duration = Duration::from_millis(100);
/// How long nothing may come before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(10);

/// A consumer of all partitions, from where they ended before the run.
pub(super) struct Receiver {
    consumer: Consumer,
    stamp: Stamp,
    schedule: Schedule,
    patience: Duration,
    received: Received,
}

/// What came.
#[derive(Debug, Default)]
pub(super) struct Received {
    times: Times,
    seen: Seen,
    arrived: u64,
    doubled: u64,
    /// The first that came again.
    first_doubled: String,
    /// Why reading ended early.
    failures: Failures,
}

impl Receiver {
    pub(super) async fn new(run: &Run<'_>, stamp: Stamp, schedule: Schedule) -> anyhow::Result<Self> {
        let mut consumer = run.client.consumer();
        for (at, end) in run.client.end_offsets(run.topic.all()).await? {
            consumer = consumer.assign_at(at.topic, at.partition, StartAt::Offset(end));
        }
        let consumer = consumer.build().await?;
        let patience = run.arguments.bootstrap.timeout();
        Ok(Self { consumer, stamp, schedule, patience, received: Received::default() })
    }

    /// Reads the producers' first records, so that its own connections stand, too.
    pub(super) async fn warm_up(&mut self, expected: usize) -> anyhow::Result<()> {
        let since = Instant::now();
        let mut left = expected;
        while left > 0 {
            if since.elapsed() > self.patience {
                bail!("{left} of the first records have not arrived after {:?}", self.patience);
            }
            let records = self.consumer.poll(POLL).await?;
            let is_first = |value| self.stamp.read(value) == Stamped::WarmUp;
            left -= records.iter().filter(|record| is_first(record.value.as_deref())).count().min(left);
        }
        Ok(())
    }

    /// Reads on in a task of its own.
    pub(super) fn receive(
        mut self,
        client: Client,
        partitions: Vec<TopicPartition>,
        start: Instant,
    ) -> Receiving {
        let (done, mut waiting) = oneshot::channel();
        let task = tokio::spawn(async move {
            // Until the senders are done …
            let acknowledged = loop {
                match waiting.try_recv() {
                    Ok(acknowledged) => break acknowledged,
                    Err(TryRecvError::Closed) => return Ok(self.received),
                    Err(TryRecvError::Empty) if self.read_some(start).await => {}
                    Err(TryRecvError::Empty) => return Ok(self.received),
                }
            };
            // … and then what is still to come.
            let ends = client.end_offsets(partitions).await?;
            self.read_rest(&ends, acknowledged, start).await?;
            Ok(self.received)
        });
        Receiving { task, done }
    }

    /// Reads until all that is acknowledged has arrived and the partitions end, or nothing comes any more.
    async fn read_rest(
        &mut self,
        ends: &BTreeMap<TopicPartition, Offset>,
        acknowledged: u64,
        start: Instant,
    ) -> anyhow::Result<()> {
        let (mut since, mut arrived) = (Instant::now(), self.received.arrived);
        loop {
            let is_whole = arrived >= acknowledged && self.is_past(ends)?;
            let is_silent = since.elapsed() > self.patience.min(SILENCE);
            if is_whole || is_silent || !self.read_some(start).await {
                return Ok(());
            }
            if self.received.arrived > arrived {
                (arrived, since) = (self.received.arrived, Instant::now());
            }
        }
    }

    fn is_past(&self, ends: &BTreeMap<TopicPartition, Offset>) -> anyhow::Result<bool> {
        for (at, end) in ends {
            let position = self.consumer.status(at)?.position;
            if position.is_none_or(|position| position < *end) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether there is any point in reading on.
    async fn read_some(&mut self, start: Instant) -> bool {
        let records = match self.consumer.poll(POLL).await {
            Ok(records) => records,
            Err(error) => {
                self.received.failures.add(&error);
                return false;
            }
        };
        let elapsed = start.elapsed();
        for record in records {
            if let Stamped::Number(number) = self.stamp.read(record.value.as_deref()) {
                let due = self.schedule.due(number).unwrap_or_default();
                let place = || {
                    format!(
                        "record {number} again at {}-{}@{}",
                        &*record.topic, record.partition, record.offset
                    )
                };
                self.received.add(number, elapsed.saturating_sub(due), place);
            }
        }
        true
    }
}

impl Received {
    fn add(&mut self, number: u64, took: Duration, place: impl FnOnce() -> String) {
        if self.seen.insert(number) {
            self.arrived += 1;
            self.times.add(took);
            return;
        }
        if self.doubled == 0 {
            self.first_doubled = place();
        }
        self.doubled += 1;
    }

    /// How long records took, with what is missing or twice among the failures.
    pub(super) fn tell(self, acknowledged: u64, failures: &mut Failures) -> Times {
        failures.merge(self.failures);
        failures.add_named("doubled", self.doubled, || self.first_doubled);
        let missing = acknowledged.saturating_sub(self.arrived);
        failures.add_named("never arrived", missing, || "acknowledged, and not there to be read".to_owned());
        self.times
    }
}

/// A receiver at work.
pub(super) struct Receiving {
    task: JoinHandle<anyhow::Result<Received>>,
    done: oneshot::Sender<u64>,
}

impl Receiving {
    /// Has it read the rest, now that everything is sent and that many records were acknowledged.
    pub(super) async fn finish(self, acknowledged: u64) -> anyhow::Result<Received> {
        // It may have ended already, by a failure.
        let _ = self.done.send(acknowledged);
        self.task.await?
    }
}

/// A set of numbers, most of them near each other.
#[derive(Debug, Default)]
struct Seen(Vec<u64>);

impl Seen {
    /// Whether it is new.
    fn insert(&mut self, number: u64) -> bool {
        let place = usize::try_from(number / 64).unwrap_or(usize::MAX);
        if place >= self.0.len() {
            self.0.resize(place + 1, 0);
        }
        let bit = 1 << (number % 64);
        let is_new = self.0[place] & bit == 0;
        self.0[place] |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_twice_are_failures() {
        let mut received = Received::default();
        for number in [0, 64, 63, 64, 64, 5] {
            received.add(number, Duration::from_millis(1), || format!("record {number}"));
        }
        let mut failures = Failures::default();
        let times = received.tell(7, &mut failures);
        assert!(!times.is_empty());
        let expected = "5 errors: 2 doubled (the first: record 64), 3 never arrived (the first: acknowledged, and not \
                        there to be read)";
        assert_eq!(failures.to_string(), expected);
    }

    #[test]
    fn more_than_was_acknowledged_may_arrive() {
        let mut received = Received::default();
        received.add(1, Duration::ZERO, String::new);
        let mut failures = Failures::default();
        received.tell(0, &mut failures);
        assert_eq!(failures.total(), 0);
    }
}
