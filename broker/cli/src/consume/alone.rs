//! Reading partitions from one offset to another, without a group.

use std::collections::BTreeMap;

use highwater::client::{Client, ConsumedRecord, Consumer, Error, Offset, StartAt, TopicPartition};

use super::{Consume, Growth, Printer, Silence};
use crate::bootstrap::explain;

/// Partitions being read, and where they are printed.
pub(super) struct Reading<'a> {
    options: &'a Consume,
    client: Client,
    consumer: Consumer,
    /// Where to stop in those partitions that have a place to.
    stops: BTreeMap<i32, Offset>,
    printer: Printer,
    silence: Silence<'a>,
    growth: Growth<'a>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        options: &'a Consume,
        client: Client,
        consumer: Consumer,
        stops: BTreeMap<i32, Offset>,
        growth: Growth<'a>,
    ) -> Self {
        let silence = Silence::new(options, client.clone());
        Self { options, client, consumer, stops, printer: options.printer(), silence, growth }
    }

    pub(super) async fn read(&mut self) -> anyhow::Result<()> {
        let is_bounded = !self.stops.is_empty();
        let silence = self.silence.limit();
        while !self.printer.is_done() {
            if is_bounded && self.is_done()? {
                break;
            }
            self.grow().await?;
            let polled = if is_bounded {
                tokio::time::timeout(silence, self.consumer.poll_until_end()).await
            } else {
                Ok(self.consumer.poll(silence.min(self.growth.wait())).await.map(Some))
            };
            match polled {
                Ok(Ok(Some(records))) if !records.is_empty() => {
                    self.silence.is_over();
                    self.print(&records)?;
                    self.tell_of_end()?;
                }
                // Everything there is was read.
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => self.recover(error).await?,
                // It is not silent, but time to look for partitions.
                Ok(Ok(Some(_))) if self.growth.wait().is_zero() => {}
                Ok(Ok(Some(_))) | Err(_) => {
                    self.tell_of_end()?;
                    self.silence.check_cluster().await?;
                }
            }
        }
        Ok(())
    }

    /// Whether every partition was read up to where it is to stop; those that were are given up.
    fn is_done(&mut self) -> anyhow::Result<bool> {
        let assigned = self.consumer.assignment();
        let mut open = Vec::new();
        for at in &assigned {
            let position = self.consumer.status(at)?.position;
            let stop = self.stops.get(&at.partition);
            if position.zip(stop).is_none_or(|(position, stop)| position < *stop) {
                open.push(at.clone());
            }
        }
        let is_done = open.is_empty();
        if open.len() < assigned.len() {
            // Those that stay go on where they are, whatever is said of a start.
            self.consumer.assign(open.into_iter().map(|at| (at, StartAt::Beginning)));
        }
        Ok(is_done)
    }

    /// Goes on with the partitions that the topic has got, too.
    async fn grow(&mut self) -> anyhow::Result<()> {
        let new = self.growth.look().await?;
        if !new.is_empty() {
            let all = self.consumer.assignment().into_iter().chain(new);
            // Those that were there go on where they are.
            self.consumer.assign(all.map(|at| (at, StartAt::Beginning)));
        }
        Ok(())
    }

    fn print(&mut self, records: &[ConsumedRecord]) -> anyhow::Result<()> {
        let stops = &self.stops;
        let is_wanted =
            |record: &&ConsumedRecord| stops.get(&record.partition).is_none_or(|stop| record.offset < *stop);
        self.printer.print(records.iter().filter(is_wanted))?;
        Ok(())
    }

    fn tell_of_end(&mut self) -> anyhow::Result<()> {
        if !self.stops.is_empty() || self.printer.is_done() {
            return Ok(());
        }
        let consumer = &self.consumer;
        Ok(self.silence.tell_of_end(|| {
            for at in consumer.assignment() {
                if !consumer.status(&at)?.at_end {
                    return Ok(false);
                }
            }
            Ok(true)
        })?)
    }

    /// Goes on where records were deleted before they could be read, which is worth a word; all else ends it.
    async fn recover(&mut self, error: Error) -> anyhow::Result<()> {
        let Error::OffsetOutOfRange { partition, offset, .. } = error else {
            return Err(explain(error, &self.options.topic));
        };
        let at = TopicPartition::new(self.options.topic.as_str(), partition);
        let firsts = self.client.beginning_offsets([at.clone()]).await?;
        let Some(first) = firsts.get(&at).filter(|first| first.get() > offset) else {
            return Err(error.into());
        };
        eprintln!("highwater: the records of {at} from offset {offset} to {} are deleted", first.get() - 1);
        Ok(self.consumer.seek(&at, StartAt::Offset(*first))?)
    }
}
