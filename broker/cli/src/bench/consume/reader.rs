//! One consumer at work.

use std::time::{Duration, Instant};

use highwater::client::{ConsumedRecord, Consumer, ConsumerBuilder, Error, StartAt};

use super::super::measured::Measured;
use super::super::stop::Stop;
use super::Spans;

/// What one consumer reads, and until when.
pub(super) struct Reader {
    pub(super) spans: Spans,
    /// How many records all consumers read together.
    pub(super) records: Option<u64>,
    pub(super) duration: Option<Duration>,
    /// Once to the end, and no further.
    pub(super) is_once: bool,
    /// How long nothing may come.
    pub(super) patience: Duration,
    pub(super) start: Instant,
    pub(super) stop: Stop,
    pub(super) measured: Measured,
}

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// When the first records were there.
    pub(super) first: Option<Instant>,
    /// How often it came to the end.
    pub(super) passes: u64,
}

impl Reader {
    /// Reads until there is enough. An error ends it, and is counted: what can be waited out, the client waits out.
    pub(super) async fn read(self, consumer: ConsumerBuilder) -> Read {
        let mut read = Read::default();
        if let Err(error) = self.read_on(consumer, &mut read).await {
            self.measured.lock().fail(&error);
        }
        read
    }

    async fn read_on(&self, mut builder: ConsumerBuilder, read: &mut Read) -> Result<(), Error> {
        for (at, (first, _)) in &self.spans {
            builder = builder.assign_at(at.topic.clone(), at.partition, StartAt::Offset(*first));
        }
        let mut consumer = builder.build().await?;
        let mut asked = Instant::now();
        let mut is_any = false;
        while !self.is_enough() {
            let polled = tokio::select! {
                polled = tokio::time::timeout(self.patience, consumer.poll_until_end()) => polled,
                () = self.stop.wait() => return Ok(()),
                () = until(self.duration.map(|duration| self.start + duration)) => return Ok(()),
            };
            let now = Instant::now();
            let records = polled.map_err(|_| self.silence())??;
            if let Some(records) = &records {
                is_any = true;
                read.first.get_or_insert(now);
                self.count(records, now - asked, now);
            }
            // More may be written while it reads: that is not waited for. Behind the last record there may be markers.
            if records.is_none() || self.is_at_end(&consumer)? {
                read.passes += 1;
                // Markers alone would be read for ever.
                if self.is_once || !is_any {
                    return Ok(());
                }
                self.rewind(&mut consumer)?;
            }
            asked = Instant::now();
        }
        Ok(())
    }

    fn is_enough(&self) -> bool {
        let is_late = self.duration.is_some_and(|duration| self.start.elapsed() >= duration);
        is_late || self.stop.is_set() || self.records.is_some_and(|most| self.measured.lock().records >= most)
    }

    /// Counts records up to the number wanted.
    fn count(&self, records: &[ConsumedRecord], waited: Duration, now: Instant) {
        let mut figures = self.measured.lock();
        let wanted = self.records.map_or(u64::MAX, |most| most.saturating_sub(figures.records));
        let counted = records.iter().take(usize::try_from(wanted).unwrap_or(usize::MAX));
        for record in counted {
            figures.records += 1;
            let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len) as u64;
            figures.bytes += len(record.key.as_deref()) + len(record.value.as_deref());
        }
        figures.times.add(waited);
        figures.last = figures.last.max(Some(now));
    }

    fn is_at_end(&self, consumer: &Consumer) -> Result<bool, Error> {
        for (at, (_, end)) in &self.spans {
            if consumer.status(at)?.position.is_none_or(|position| position < *end) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn rewind(&self, consumer: &mut Consumer) -> Result<(), Error> {
        self.spans.iter().try_for_each(|(at, (first, _))| consumer.seek(at, StartAt::Offset(*first)))
    }

    fn silence(&self) -> Error {
        Error::TimedOut {
            what: "the next record".into(),
            after: self.patience,
            possibly_stored: false,
            last: None,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
