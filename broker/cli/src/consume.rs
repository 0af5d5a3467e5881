//! `highwater consume`: prints what it reads.

mod alone;
mod ending;
mod growth;
mod member;
mod printer;
mod silence;
mod span;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use highwater::client::{
    Client, Consumer, ConsumerConfig, OffsetReset, StartAt, TopicDescription, TopicPartition,
};

use self::alone::Reading;
use self::ending::Ending;
use self::growth::Growth;
use self::printer::Printer;
use self::silence::Silence;
use self::span::{Bound, Bounds, Span};
use crate::arguments::{self, Delimiter, GroupProtocol, IsolationLevel};
use crate::bootstrap::{Bootstrap, block_on, describe_topic};
use crate::record_format::{Format, Output};

/// Records taken at once, and written out together.
const RECORDS_AT_ONCE: usize = 2000;

/// Consume records of a topic: print the value of each on a line, from the beginning, and go on as more come.
///
/// The records of one partition come in order. Without --group it reads all of them and commits nothing. In a group it
/// reads its share, from where the group left off, and commits what it has printed.
///
/// Ctrl-C or SIGTERM ends it in good order: with exit code 0 if it would have gone on for ever, with 1 if there was an end
/// to reach (-e, -c, -o e@MS). It also ends, with 0, when nobody reads any more what it prints.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Consume {
    /// The topic.
    #[arg(short, long, value_parser = arguments::name)]
    topic: String,
    /// Read as a member of this group, whose members divide the partitions among them.
    #[arg(short, long, value_parser = arguments::name, conflicts_with = "partitions")]
    group: Option<String>,
    /// How the group divides them, by default classic.
    #[arg(long, value_enum, value_name = "PROTOCOL", requires = "group")]
    group_protocol: Option<GroupProtocol>,
    /// The partitions, as 0,2; all there are, unless told otherwise.
    #[arg(
        short, long = "partition", value_name = "NUMBER", value_delimiter = ',',
        value_parser = clap::value_parser!(i32).range(0..)
    )]
    partitions: Vec<i32>,
    /// Where to begin in each partition: beginning (the default), end, an offset, -N (the last N), @MS or s@MS (the first
    /// record as young as that); with e@MS also the time to stop at, which is not printed any more. In a group only
    /// beginning or end, for partitions that it has not read yet.
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
    /// Where you are: partitions are read from a replica in this rack, if the broker knows of one that is in sync there
    /// (serve --racks, replica.selector.class).
    #[arg(long, value_name = "RACK", value_parser = arguments::name)]
    rack: Option<String>,
    /// How often to look whether the topic has more partitions, which are read from their beginning. A group of the consumer
    /// protocol hears of them sooner, from the broker.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = arguments::duration)]
    metadata_age: Duration,
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
  highwater consume -t orders -o end --json | jq .value
  highwater consume -t orders -g invoices";

impl Consume {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        block_on(self.consume())
    }

    async fn consume(self) -> anyhow::Result<()> {
        let bounds = Bounds::of(&self.offset)?;
        if let Some(group) = &self.group {
            return member::read(&self, group, bounds).await;
        }
        let client = self.bootstrap.connect().await?;
        let topic = describe_topic(&client, &self.topic).await?;
        let partitions = self.partitions(&topic)?;
        let isolation = self.isolation.into();
        let spans = span::find(&client, &partitions, bounds, self.exit_at_end, isolation).await?;
        let consumer = self.consumer(&client, &spans).await?;
        let stops = spans.into_iter().filter_map(|(at, span)| Some((at.partition, span.stop?))).collect();
        let growth = Growth::new(&self, client.clone(), topic);
        let mut reading = Reading::new(&self, client, consumer, stops, growth);
        let ending = Ending::new()?;
        tokio::select! {
            read = reading.read() => read,
            ended = ending.comes(&self) => ended,
        }
    }

    /// Whether it is to stop somewhere in the partitions.
    fn has_stops(&self) -> bool {
        self.exit_at_end || self.offset.iter().any(|bound| matches!(bound, Bound::Until(_)))
    }

    /// Whether it is to stop by itself.
    fn has_end(&self) -> bool {
        self.has_stops() || self.count.is_some()
    }

    fn partitions(&self, topic: &TopicDescription) -> anyhow::Result<Vec<TopicPartition>> {
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
        // What is lost on the way is told, not passed over.
        let mut builder = client.consumer().config(self.config(OffsetReset::None));
        for (at, span) in spans {
            // What is empty is done already.
            if span.stop.is_none_or(|stop| span.start < stop) {
                builder = builder.assign_at(at.topic.clone(), at.partition, StartAt::Offset(span.start));
            }
        }
        Ok(builder.build().await?)
    }

    fn config(&self, offset_reset: OffsetReset) -> ConsumerConfig {
        ConsumerConfig {
            isolation: self.isolation.into(),
            offset_reset,
            max_poll_records: RECORDS_AT_ONCE,
            rack: self.rack.clone().map(Into::into),
            metadata_max_age: self.metadata_age,
            ..ConsumerConfig::default()
        }
    }

    fn printer(&self) -> Printer {
        Printer::new(self.output(), self.count, self.unbuffered)
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
