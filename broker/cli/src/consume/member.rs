//! Reading as a member of a group.
//!
//! What is committed has been printed: the consumer commits what earlier polls gave, and what a poll gave too much is given
//! back before it ends. A member leaves its group in good order, whatever ends it short of a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use highwater::client::{
    Client, ConsumedRecord, GroupConsumer, GroupHandle, Offset, OffsetReset, RebalanceListener, StartAt,
    TopicPartition,
};

use super::{Bounds, Consume, Ending, Printer, Silence};
use crate::bootstrap::{describe_topic, explain};

/// Knows whether the first rebalance is over, after which a member without partitions has none to read.
struct Joined(Arc<AtomicBool>);

impl RebalanceListener for Joined {
    async fn assigned(&mut self, _: &GroupHandle, _: &BTreeSet<TopicPartition>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) async fn read(options: &Consume, group: &str, bounds: Bounds) -> anyhow::Result<()> {
    let Some(reset) = bounds.as_reset() else {
        bail!(
            "-o: in a group only beginning or end; `highwater group reset` moves a group to any other place"
        );
    };
    let client = options.bootstrap.connect().await?;
    let joined = Arc::new(AtomicBool::new(false));
    let mut member = Member {
        stops: options.stops(&client).await?,
        silence: Silence::new(options, client.clone()),
        printer: options.printer(),
        consumer: options.member(&client, group, reset, Joined(Arc::clone(&joined))).await?,
        joined,
        options,
    };
    // It joins when it first reads: from here on a signal is a wish to leave.
    let ending = Ending::new()?;
    let read = tokio::select! {
        read = member.read() => read,
        ended = ending.comes(options) => ended,
    };
    let left = member.consumer.close().await;
    read?;
    left.with_context(|| format!("what was read last may not be committed in group {group}"))
}

impl Consume {
    /// With --exit-at-end, where each partition ends now.
    async fn stops(&self, client: &Client) -> anyhow::Result<Option<BTreeMap<TopicPartition, Offset>>> {
        let topic = describe_topic(client, &self.topic).await?;
        if !self.exit_at_end {
            return Ok(None);
        }
        Ok(Some(client.end_offsets(self.partitions(&topic)?).await?))
    }

    async fn member(
        &self,
        client: &Client,
        group: &str,
        reset: OffsetReset,
        joined: Joined,
    ) -> anyhow::Result<GroupConsumer> {
        let protocol = self.group_protocol.map(Into::into).unwrap_or_default();
        let consumer = client.consumer().config(self.config(reset)).group(group).protocol(protocol);
        Ok(consumer.subscribe([self.topic.as_str()]).listener(joined).build().await?)
    }
}

struct Member<'a> {
    options: &'a Consume,
    consumer: GroupConsumer,
    /// Where partitions ended when it began, if it is to stop there.
    stops: Option<BTreeMap<TopicPartition, Offset>>,
    joined: Arc<AtomicBool>,
    printer: Printer,
    silence: Silence<'a>,
}

impl Member<'_> {
    async fn read(&mut self) -> anyhow::Result<()> {
        while !self.printer.is_done() && !self.is_at_stops()? {
            let polled = self.consumer.poll(self.silence.limit()).await;
            let records = polled.map_err(|error| explain(error, &self.options.topic))?;
            if records.is_empty() {
                self.tell_of_end()?;
                self.silence.check_cluster().await?;
                continue;
            }
            self.silence.is_over();
            let printed = self.printer.print(&records);
            // What was not written out is not read.
            self.give_back(&records[*printed.as_ref().unwrap_or(&0)..])?;
            printed?;
            self.tell_of_end()?;
        }
        Ok(())
    }

    /// Lets the group go on with the first of these in each partition.
    fn give_back(&self, records: &[ConsumedRecord]) -> anyhow::Result<()> {
        for record in records.iter().rev() {
            let at = TopicPartition::new(record.topic.clone(), record.partition);
            self.consumer.seek(&at, StartAt::Offset(record.offset))?;
        }
        Ok(())
    }

    /// Whether all that is this member's was read to where it is to stop.
    fn is_at_stops(&self) -> anyhow::Result<bool> {
        let Some(stops) = &self.stops else { return Ok(false) };
        for at in self.consumer.assignment() {
            let (position, stop) = (self.consumer.position(&at)?, stops.get(&at));
            // A partition that came later is none that was asked for.
            if stop.is_some_and(|stop| position.is_none_or(|position| position < *stop)) {
                return Ok(false);
            }
        }
        Ok(self.joined.load(Ordering::Relaxed))
    }

    fn tell_of_end(&mut self) -> anyhow::Result<()> {
        if self.stops.is_some() || self.printer.is_done() {
            return Ok(());
        }
        let (consumer, joined) = (&self.consumer, self.joined.load(Ordering::Relaxed));
        Ok(self.silence.tell_of_end(|| {
            for at in consumer.assignment() {
                if !consumer.status(&at)?.at_end {
                    return Ok(false);
                }
            }
            Ok(joined)
        })?)
    }
}
