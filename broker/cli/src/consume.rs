//! `highwater consume`: prints what it reads.

mod span;

use std::collections::BTreeMap;
use std::io::{BufWriter, IsTerminal, StdoutLock, Write, stderr, stdout};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use clap::Args;
use highwater::client::{
    Client, ConsumedRecord, Consumer, ConsumerConfig, Error, Offset, OffsetReset, StartAt, TopicPartition,
};

use self::span::{Bound, Bounds, Span};
use crate::arguments::{Delimiter, IsolationLevel};
use crate::bootstrap::{Bootstrap, block_on, describe_topic, explain};
use crate::record_format::{Format, Output};

/// How long nothing may come before one asks whether the cluster is still there, where `--timeout` leaves it more.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);
/// Records taken at once, and written out together.
const RECORDS_AT_ONCE: usize = 2000;
/// What is written to standard output at once.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Consume records of a topic: print the value of each on a line, from the beginning, and go on as more come.
///
/// Belongs to no group and commits nothing. The records of one partition come in order.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Consume {
    /// The topic.
    #[arg(short, long)]
    topic: String,
    /// The partitions, as 0,2; all there are, unless told otherwise.
    #[arg(
        short, long = "partition", value_name = "NUMBER", value_delimiter = ',',
        value_parser = clap::value_parser!(i32).range(0..)
    )]
    partitions: Vec<i32>,
    /// Where to begin in each partition: beginning (the default), end, an offset, -N (the last N), @MS or s@MS (the first
    /// record as young as that); with e@MS also the time to stop at, which is not printed any more.
    #[arg(short, long = "offset", value_name = "PLACE", value_parser = Bound::parse, allow_hyphen_values = true)]
    offset: Vec<Bound>,
    /// Stop after that many records.
    #[arg(short, long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Stop where the partitions end at present.
    #[arg(short = 'e', long)]
    exit_at_end: bool,
    /// What to print of each record.
    #[arg(short, long, value_parser = Format::parse, conflicts_with_all = ["key_delimiter", "delimiter", "json"])]
    format: Option<Format>,
    /// Print a JSON object a line, which produce --json can read.
    #[arg(long, conflicts_with_all = ["key_delimiter", "delimiter", "null"])]
    json: bool,
    /// Print the key, too, and this before the value.
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = Delimiter::parse)]
    key_delimiter: Option<Delimiter>,
    /// What to print behind each record, by default \n.
    #[arg(short = 'D', long, value_name = "TEXT", value_parser = Delimiter::parse)]
    delimiter: Option<Delimiter>,
    /// Print null keys and values as NULL; by default as nothing.
    #[arg(short = 'Z', long)]
    null: bool,
    /// Which records of transactions to read.
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "read_uncommitted")]
    isolation: IsolationLevel,
    /// Write each record out at once, not with those that came with it.
    #[arg(short, long)]
    unbuffered: bool,
    /// Say nothing but errors.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

const AFTER_HELP: &str = r"FORMAT may hold
  %t topic  %p partition  %o offset  %T time in ms since 1970  %h headers, name=value,...
  %k key  %K its size     %s value   %S its size               %R its size as 4 bytes, big-endian
  %% and \n \r \t \0 \\ \xHH; the size of null is -1.

JSON names topic, partition, offset, timestamp, timestampType, key, value, headers. Bytes that are not text stand as base64
under keyBase64 and valueBase64.

Examples:
  highwater consume -t orders -e
  highwater consume -t orders -o -10 -f '%p@%o %k=%s\n'
  highwater consume -t orders -o end --json | jq .value";

impl Consume {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        block_on(self.consume())
    }

    async fn consume(self) -> anyhow::Result<()> {
        let bounds = Bounds::of(&self.offset)?;
        let client = self.bootstrap.connect().await?;
        let partitions = self.partitions(&client).await?;
        let isolation = self.isolation.into();
        let spans = span::find(&client, &partitions, bounds, self.exit_at_end, isolation).await?;
        let consumer = self.consumer(&client, &spans).await?;
        let mut reading = Reading {
            stops: spans.into_iter().filter_map(|(at, span)| Some((at.partition, span.stop?))).collect(),
            left: self.count,
            output: self.output(),
            out: BufWriter::with_capacity(OUTPUT_BYTES, stdout().lock()),
            has_told_of_end: self.quiet || !stderr().is_terminal(),
            silent_since: None,
            options: &self,
            client,
            consumer,
        };
        reading.read().await?;
        Ok(reading.out.flush()?)
    }

    async fn partitions(&self, client: &Client) -> anyhow::Result<Vec<TopicPartition>> {
        let topic = describe_topic(client, &self.topic).await?;
        let there = topic.partitions.iter().map(|partition| partition.partition);
        if let Some(missing) =
            self.partitions.iter().find(|asked| there.clone().all(|number| number != **asked))
        {
            let last = there.max().unwrap_or(-1);
            bail!("topic {} has partitions 0 to {last}, not {missing}", self.topic);
        }
        let wanted = there.filter(|number| self.partitions.is_empty() || self.partitions.contains(number));
        Ok(wanted.map(|number| TopicPartition::new(self.topic.as_str(), number)).collect())
    }

    async fn consumer(
        &self,
        client: &Client,
        spans: &BTreeMap<TopicPartition, Span>,
    ) -> anyhow::Result<Consumer> {
        let config = ConsumerConfig {
            isolation: self.isolation.into(),
            // What is lost on the way is told, not passed over.
            offset_reset: OffsetReset::None,
            max_poll_records: RECORDS_AT_ONCE,
            ..ConsumerConfig::default()
        };
        let mut builder = client.consumer().config(config);
        for (at, span) in spans {
            // What is empty is done already.
            if span.stop.is_none_or(|stop| span.start < stop) {
                builder = builder.assign_at(at.topic.clone(), at.partition, StartAt::Offset(span.start));
            }
        }
        Ok(builder.build().await?)
    }

    fn output(&self) -> Output {
        if self.json {
            return Output::Json;
        }
        let plain = || Format::plain(self.key_delimiter.as_ref(), self.delimiter.as_ref());
        let format = self.format.clone().unwrap_or_else(plain);
        Output::Format { format, null_text: if self.null { "NULL" } else { "" } }
    }
}

/// Partitions being read, and where they are printed.
struct Reading<'a> {
    options: &'a Consume,
    client: Client,
    consumer: Consumer,
    /// Where to stop in those partitions that have a place to.
    stops: BTreeMap<i32, Offset>,
    /// How many records to print yet.
    left: Option<u64>,
    output: Output,
    out: BufWriter<StdoutLock<'static>>,
    has_told_of_end: bool,
    /// Since when the cluster does not answer.
    silent_since: Option<Instant>,
}

impl Reading<'_> {
    async fn read(&mut self) -> anyhow::Result<()> {
        let is_bounded = !self.stops.is_empty();
        let silence = SILENCE_LIMIT.min(self.options.bootstrap.timeout());
        while self.left != Some(0) && !(is_bounded && self.is_done()?) {
            let polled = if is_bounded {
                tokio::time::timeout(silence, self.consumer.poll_until_end()).await
            } else {
                Ok(self.consumer.poll(silence).await.map(Some))
            };
            match polled {
                Ok(Ok(Some(records))) if !records.is_empty() => {
                    self.silent_since = None;
                    self.print(&records)?;
                    self.tell_of_end()?;
                }
                // Everything there is was read.
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => self.recover(error).await?,
                Ok(Ok(Some(_))) | Err(_) => self.check_cluster().await?,
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

    fn print(&mut self, records: &[ConsumedRecord]) -> anyhow::Result<()> {
        for record in records {
            if self.left == Some(0) {
                break;
            }
            if self.stops.get(&record.partition).is_some_and(|stop| record.offset >= *stop) {
                continue;
            }
            self.output.write(&mut self.out, record)?;
            if self.options.unbuffered {
                self.out.flush()?;
            }
            self.left = self.left.map(|left| left - 1);
        }
        Ok(self.out.flush()?)
    }

    /// Says once, to someone at a terminal, why nothing more comes.
    fn tell_of_end(&mut self) -> anyhow::Result<()> {
        if self.has_told_of_end || !self.stops.is_empty() || self.left == Some(0) {
            return Ok(());
        }
        for at in self.consumer.assignment() {
            if !self.consumer.status(&at)?.at_end {
                return Ok(());
            }
        }
        self.has_told_of_end = true;
        eprintln!("highwater: that is all there is yet of topic {}; waiting for more", self.options.topic);
        Ok(())
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

    /// Nothing came for a while: because there is nothing, or because nobody is there?
    async fn check_cluster(&mut self) -> anyhow::Result<()> {
        self.tell_of_end()?;
        let patience = self.options.bootstrap.timeout();
        let asked = describe_topic(&self.client, &self.options.topic).await;
        match asked {
            Ok(_) => self.silent_since = None,
            Err(error)
                if matches!(
                    error.downcast_ref(),
                    Some(Error::Connection { .. } | Error::TimedOut { .. })
                ) =>
            {
                let since = *self.silent_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= patience {
                    return Err(anyhow!("the cluster has not answered for {patience:?}: {error:#}"));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
