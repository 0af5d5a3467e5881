//! What every fault may cost, as data: `broker/guarantees.toml`, read and checked.
//!
//! - [`words`]: the closed vocabularies.
//! - [`Guarantees::read`]: the rows, refused as a whole where one is missing, says too little or contradicts itself.
//! - [`judge`]: what happened in a test, compared with a cell.
//! - [`scene`]: a cluster and a producer made by hand, on which rows are played.
//! - [`page`]: the table as people read it, docs/guarantees.md.
//!
//! Always: each row has exactly one cell for every way of producing in which its event can happen.

pub mod judge;
pub mod page;
mod read;
pub mod scene;
#[cfg(test)]
mod tests;
pub mod words;

use std::fmt;
use std::sync::LazyLock;

use self::words::{
    Acks, Commit, Duplicated, Lost, Mode, Order, Outcome, Processed, Shown, Sign, StableOffset, Told,
    Unacknowledged, Visible,
};

/// The file, as it was when this was built.
pub const SOURCE: &str = include_str!("../../../broker/guarantees.toml");

/// The table.
///
/// # Panics
/// If the file is wrong; the reader's own test says how.
pub static TABLE: LazyLock<Guarantees> =
    LazyLock::new(|| Guarantees::read(SOURCE).unwrap_or_else(|wrong| panic!("{wrong}")));

/// Why the file is refused.
#[derive(Debug)]
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// All rows.
#[derive(Debug)]
pub struct Guarantees {
    rows: Vec<Row>,
}

impl Guarantees {
    /// All rows, in the order of the file.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of this id.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn row(&self, id: &str) -> &Row {
        self.rows.iter().find(|row| row.id.to_string() == id).unwrap_or_else(|| panic!("no row {id}"))
    }
}

/// What kind of event a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Faults while records are appended and kept: a number alone.
    Appending,
    /// What a producer finds of its own settings: `U`.
    Producer,
    /// Transactions: `T`.
    Transaction,
    /// Consumers: `C`.
    Consumer,
}

impl Family {
    const ALL: [Self; 4] = [Self::Appending, Self::Producer, Self::Transaction, Self::Consumer];

    const fn letter(self) -> &'static str {
        match self {
            Self::Appending => "",
            Self::Producer => "U",
            Self::Transaction => "T",
            Self::Consumer => "C",
        }
    }

    /// How many rows it has, not counting cases.
    const fn count(self) -> u8 {
        match self {
            Self::Appending => 24,
            Self::Producer => 3,
            Self::Transaction => 14,
            Self::Consumer => 7,
        }
    }
}

/// A row's name: `4`, `6a`, `T12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// The kind of event.
    pub family: Family,
    /// Counted from 1 in its family.
    pub number: u8,
    /// Which of its cases, if it has several.
    pub case: Option<char>,
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.family.letter(), self.number)?;
        self.case.map_or(Ok(()), |case| write!(f, "{case}"))
    }
}

/// A fault and what it costs.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub id: RowId,
    /// What the fault is.
    pub title: String,
    /// What exactly happens.
    pub event: String,
    /// The least replication factor in which it means something.
    pub replicas: u8,
    /// `min.insync.replicas` of the setting.
    pub min_isr: u8,
    /// Kafka's rule.
    pub kafka: String,
    /// Where we differ, or what an option adds.
    pub ours: Option<String>,
    /// Settings, as `name=value`, by which we go beyond Kafka.
    pub options: Vec<String>,
    /// Whether the wall clock is moved.
    pub needs_clock_jump: bool,
    /// The issue whose work makes it true.
    pub served_from: u8,
    /// What it costs.
    pub costs: Costs,
}

/// What a fault costs, by the kind of its row.
#[derive(Debug)]
pub enum Costs {
    /// By the way of producing.
    Append(Vec<Cell>),
    /// By the durability.
    Transaction(Vec<TransactionCell>),
    /// Always the same.
    Consumer(ConsumerCell),
}

impl Row {
    /// What it costs who produces this way; `None` where the event cannot happen.
    #[must_use]
    pub fn cell(&self, way: Way) -> Option<&Cell> {
        let Costs::Append(cells) = &self.costs else { return None };
        cells.iter().find(|cell| cell.ways.contains(way))
    }

    /// Every way of producing in which its event can happen.
    pub fn ways(&self) -> impl Iterator<Item = Way> + '_ {
        Way::all().filter(|way| self.cell(*way).is_some())
    }
}

/// A way of producing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// `acks`.
    pub acks: Acks,
    /// Whether batches carry a producer id and a sequence.
    pub idempotence: bool,
    /// Whether what was not acknowledged is sent again.
    pub retries: bool,
    /// `highwater.durability`.
    pub mode: Mode,
}

impl Way {
    /// Every way.
    pub fn all() -> impl Iterator<Item = Self> {
        let bools = [false, true];
        Acks::ALL.iter().flat_map(move |acks| {
            bools.into_iter().flat_map(move |idempotence| {
                bools.into_iter().flat_map(move |retries| {
                    Mode::ALL.iter().map(move |mode| Self { acks: *acks, idempotence, retries, mode: *mode })
                })
            })
        })
    }

    /// Whether Kafka's clients, and ours, let themselves be configured so: idempotence needs acks=all and retries.
    #[must_use]
    pub fn is_a_clients(self) -> bool {
        !self.idempotence || (self.acks == Acks::All && self.retries)
    }

    /// Whether an acknowledgement waits for everyone in sync.
    #[must_use]
    pub fn waits_for_all(self) -> bool {
        self.acks == Acks::All || (self.acks == Acks::Leader && self.mode == Mode::Isr)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |is| if is { "with" } else { "without" };
        let Self { acks, idempotence, retries, mode } = *self;
        let (idempotence, retries) = (with(idempotence), with(retries));
        write!(f, "acks={acks} {idempotence} idempotence, {retries} retries, durability {mode}")
    }
}

/// A set of ways of producing: some values of each dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    /// `acks`.
    pub acks: Vec<Acks>,
    /// Idempotence.
    pub idempotence: Vec<bool>,
    /// Retries.
    pub retries: Vec<bool>,
    /// `highwater.durability`.
    pub mode: Vec<Mode>,
}

impl Ways {
    /// Whether the way is one of them.
    #[must_use]
    pub fn contains(&self, way: Way) -> bool {
        self.acks.contains(&way.acks)
            && self.idempotence.contains(&way.idempotence)
            && self.retries.contains(&way.retries)
            && self.mode.contains(&way.mode)
    }
}

/// What an event costs, for some ways of producing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Which.
    pub ways: Ways,
    /// What the producer is told of the batch that the fault met: one of these.
    pub told: Vec<Told>,
    /// What was delivered and is gone.
    pub lost: Lost,
    /// What is there too often.
    pub duplicated: Duplicated,
    /// What became of the batch where the producer was not told that it is stored.
    pub unacknowledged: Option<Unacknowledged>,
    /// The order of the records.
    pub order: Order,
    /// When readers see the batch.
    pub visible: Visible,
    /// What the client meets.
    pub signs: Signs,
}

/// What a client meets on the way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signs {
    /// Each of these, in one form of the fault or another.
    pub surely: Vec<Sign>,
    /// Perhaps these: it depends on who is asked when.
    pub perhaps: Vec<Sign>,
}

/// What an event costs a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionCell {
    /// For which durabilities.
    pub mode: Vec<Mode>,
    /// How it ends.
    pub outcome: Outcome,
    /// How readers of committed records see it.
    pub shown: Shown,
    /// What the last stable offset does.
    pub stable_offset: StableOffset,
    /// What the client meets.
    pub signs: Signs,
}

/// What an event costs a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerCell {
    /// How often records are processed.
    pub processed: Processed,
    /// What becomes of the commit.
    pub commit: Commit,
    /// What the client meets.
    pub signs: Signs,
}
