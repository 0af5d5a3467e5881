//! `highwater produce`: sends what it reads.

mod input;
mod tally;

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use highwater::client::{Acks, Client, Codec, Error, Producer, ProducerConfig, Record};

use self::input::{Piece, Splitter};
use self::tally::Tally;
use crate::arguments::{self, Delimiter};
use crate::bootstrap::{Bootstrap, block_on, explain};
use crate::json_record::{ParsedHeader, ParsedRecord, add_headers};

/// The largest record that is read. Brokers take at most 1 MiB unless told otherwise; this only keeps an input without an
/// end from filling the memory.
const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;
/// What a record may take besides: headers, lengths.
const REQUEST_BYTES: usize = MAX_RECORD_BYTES + 64 * 1024;
/// The most that is on its way.
const BUFFER_BYTES: usize = 2 * REQUEST_BYTES;

/// Produce records, by default one from each line of standard input.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Produce {
    /// The topic; with --json it wins over the topics that the records name.
    #[arg(short, long, value_parser = arguments::name, required_unless_present = "json")]
    topic: Option<String>,
    /// The partition; by default the key decides, and a record without a key goes to any.
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// The key of every record.
    #[arg(short, long)]
    key: Option<String>,
    /// What separates a record's key from its value; a record without it has a null key.
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = Delimiter::parse, conflicts_with = "key")]
    key_delimiter: Option<Delimiter>,
    /// What separates records, by default \n.
    #[arg(short = 'D', long, value_name = "TEXT", value_parser = Delimiter::parse)]
    delimiter: Option<Delimiter>,
    /// Cut files into records, too, as -D and --json do; by default each file is one record.
    #[arg(short, long)]
    lines: bool,
    /// A header of every record; may be given several times. Without '=', its value is null.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// Make empty values and keys null.
    #[arg(short = 'Z', long)]
    null: bool,
    /// Read a JSON object from each line: topic, partition, key, value, headers, timestamp, all optional.
    #[arg(long, conflicts_with_all = ["key", "key_delimiter", "delimiter", "null"])]
    json: bool,
    /// Compress with none, gzip, snappy, lz4 or zstd.
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = arguments::codec)]
    compression: Codec,
    /// Whose acknowledgement to wait for: 0 nobody's, 1 the leader's, all that of all in-sync replicas.
    #[arg(long, value_name = "0|1|all", default_value = "all", value_parser = arguments::acks)]
    acks: Acks,
    /// Send without a producer id and sequences; by default, with --acks all, no retry can store a record twice.
    #[arg(long)]
    no_idempotence: bool,
    /// How long a record may wait for others to share its batch, as 5ms.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = arguments::duration_or_zero)]
    linger: Duration,
    /// Print TOPIC-PARTITION@OFFSET of each record on standard output.
    #[arg(short, long)]
    verbose: bool,
    /// Say nothing of success.
    #[arg(short, long)]
    quiet: bool,
    /// Files to read in place of standard input (`-`), each one record unless told otherwise.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

const AFTER_HELP: &str = r#"TEXT may hold \n \r \t \0 \\ and \xHH. A record may have 16 MiB; topics take 1 MiB unless set otherwise.

JSON: {"topic":"t","partition":0,"key":"k","value":"v","headers":[{"key":"h","value":"v"}],"timestamp":0}. Bytes that
are not text go as base64 into keyBase64 and valueBase64. Headers may also be an object. What consume --json prints can
be read again.

Examples:
  echo hello | highwater produce -t greetings
  highwater produce -t users -K : <<< "ann:{\"age\":7}"
  highwater consume -t orders -e --json | highwater produce -t copy --json"#;

impl Produce {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        block_on(self.produce())
    }

    async fn produce(mut self) -> anyhow::Result<()> {
        if self.files.is_empty() {
            self.files.push("-".into());
            self.lines = true;
        }
        self.lines |= self.json || self.delimiter.is_some();
        let is_typed = self.files.iter().any(|file| file == Path::new("-")) && stdin().is_terminal();
        let client = self.bootstrap.connect().await?;
        if is_typed && !self.quiet {
            eprintln!("highwater: reading records from the terminal; ctrl-d ends");
        }
        let mut sending = Sending {
            producer: self.producer(&client).await?,
            headers: self.headers.iter().map(|header| split_header(header)).collect(),
            tally: Tally::new(self.acks != Acks::None, self.verbose, !self.quiet && !is_typed),
            options: &self,
        };
        let stopped = sending.send_all().await;
        let finished = sending.finish().await;
        sending.tally.end_progress();
        report(&self, &sending.tally, stopped.and(finished))
    }

    async fn producer(&self, client: &Client) -> anyhow::Result<Producer> {
        let config = ProducerConfig {
            acks: self.acks,
            idempotent: self.no_idempotence.then_some(false),
            linger: self.linger,
            compression: self.compression,
            max_request_bytes: REQUEST_BYTES,
            buffer_bytes: BUFFER_BYTES,
            request_timeout: self.bootstrap.request_timeout(),
            delivery_timeout: self.bootstrap.timeout() + self.linger,
            max_block: self.bootstrap.timeout(),
            ..ProducerConfig::default()
        };
        Ok(client.producer().config(config).build().await?)
    }
}

fn split_header(header: &str) -> ParsedHeader {
    match header.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.as_bytes().to_vec())),
        None => (header.to_owned(), None),
    }
}

/// Why it stopped, if it stopped early, and what became of the records either way.
fn report(options: &Produce, tally: &Tally, ended: anyhow::Result<()>) -> anyhow::Result<()> {
    let summary = tally.summary();
    match (ended, &tally.failure) {
        (_, Some(failure)) => {
            let failure = match &options.topic {
                Some(topic) => explain(failure.clone(), topic),
                None => failure.clone().into(),
            };
            Err(anyhow!("{failure:#}; {summary}"))
        }
        (Err(error), None) => Err(anyhow!("{error:#}; {summary}")),
        (Ok(()), None) => {
            if !options.quiet {
                eprintln!("highwater: {summary}");
            }
            Ok(())
        }
    }
}

/// A producer and its records.
struct Sending<'a> {
    options: &'a Produce,
    producer: Producer,
    headers: Vec<ParsedHeader>,
    tally: Tally,
}

impl Sending<'_> {
    /// Sends what is read until the input ends, a record fails, or the user wants no more.
    async fn send_all(&mut self) -> anyhow::Result<()> {
        let delimiter = self.options.delimiter.clone().or_else(|| Delimiter::parse("\n").ok());
        let files = &self.options.files;
        let mut splitter = Splitter::new(delimiter.filter(|_| self.options.lines));
        if !self.options.lines {
            files
                .iter()
                .filter(|file| *file != Path::new("-"))
                .try_for_each(|file| input::check_size(file))?;
        }
        let mut pieces = input::read(files.clone())?;
        let mut reading = files.iter().map(|file| input::name_of(file));
        let mut input = reading.next().unwrap_or_default();
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        while self.tally.failure.is_none() {
            let piece = tokio::select! {
                biased;
                _ = &mut interrupted => return Ok(()),
                piece = pieces.recv() => piece,
                outcome = self.tally.first() => {
                    self.tally.settle_first(outcome)?;
                    self.tally.settle_ready()?;
                    continue;
                }
            };
            match piece.transpose()? {
                Some(Piece::Block(block)) => {
                    splitter.feed(&block);
                    self.send_whole(&mut splitter, &input).await?;
                }
                Some(Piece::End) => {
                    if let Some(record) = splitter.end() {
                        self.send(&record).await.with_context(|| place(&input, &splitter))?;
                    }
                    splitter.restart();
                    input = reading.next().unwrap_or_default();
                }
                None => return Ok(()),
            }
            self.tally.settle_ready()?;
        }
        Ok(())
    }

    async fn send_whole(&mut self, splitter: &mut Splitter, input: &str) -> anyhow::Result<()> {
        loop {
            let sent = match splitter.next().with_context(|| input.to_owned())? {
                Some(record) => self.send(record).await,
                None => return Ok(()),
            };
            sent.with_context(|| place(input, splitter))?;
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let options = self.options;
        if options.json {
            return self.send_json(bytes).await;
        }
        let topic = options.topic.as_deref().context("no topic")?;
        let (key, value) = match &options.key_delimiter {
            Some(delimiter) => split_key(bytes, delimiter.as_bytes()),
            None => (options.key.as_deref().map(str::as_bytes), bytes),
        };
        let is_kept = |bytes: &&[u8]| !(options.null && bytes.is_empty());
        let mut record = Record::to(topic);
        if let Some(key) = key.as_ref().filter(|key| is_kept(key)) {
            record = record.key(*key);
        }
        if is_kept(&value) {
            record = record.value(value);
        }
        let record = add_headers(record, &self.headers);
        hand_over(&self.producer, &mut self.tally, record, options.partition, topic).await
    }

    async fn send_json(&mut self, line: &[u8]) -> anyhow::Result<()> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let parsed = ParsedRecord::parse(line)?;
        let Some(topic) = self.options.topic.as_deref().or(parsed.topic.as_deref()) else {
            bail!("the record names no topic, and there is no --topic");
        };
        let record = add_headers(parsed.record(topic), &self.headers);
        let partition = self.options.partition.or(parsed.partition);
        hand_over(&self.producer, &mut self.tally, record, partition, topic).await
    }

    /// Waits for all that is on its way; a second interrupt gives it up.
    async fn finish(&mut self) -> anyhow::Result<()> {
        let Self { producer, tally, .. } = self;
        let settled = async {
            // The tally hears of each failure itself.
            let _ = producer.flush().await;
            tally.settle_all().await
        };
        tokio::select! {
            settled = settled => return settled,
            _ = tokio::signal::ctrl_c() => {}
        }
        self.tally.abandon();
        Err(anyhow!("interrupted"))
    }
}

async fn hand_over(
    producer: &Producer,
    tally: &mut Tally,
    record: Record<'_>,
    partition: Option<i32>,
    topic: &str,
) -> anyhow::Result<()> {
    let record = match partition {
        Some(partition) => record.partition(partition),
        None => record,
    };
    // Mostly there is room, and nothing to wait for.
    let delivery = match producer.try_enqueue(&record) {
        Err(Error::BufferFull { .. } | Error::TopicNotKnownYet { .. }) => producer.enqueue(record).await,
        done => done,
    };
    tally.add(delivery.map_err(|error| explain(error, topic))?);
    Ok(())
}

fn split_key<'a>(record: &'a [u8], delimiter: &[u8]) -> (Option<&'a [u8]>, &'a [u8]) {
    match input::find(record, delimiter) {
        Some(place) => (Some(&record[..place]), &record[place + delimiter.len()..]),
        None => (None, record),
    }
}

fn place(input: &str, splitter: &Splitter) -> String {
    format!("{input}, record {}", splitter.number())
}
