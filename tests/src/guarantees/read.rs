//! From the file to the table, with everything that must hold of it.

use std::collections::BTreeSet;

use highwater::BrokerConfig;
use serde::Deserialize;

use super::words::{
    Acks, Commit, Duplicated, Lost, Mode, Order, Outcome, Processed, Shown, Sign, StableOffset, Told,
    Unacknowledged, Visible,
};
use super::{
    Cell, ConsumerCell, Costs, Family, Guarantees, Row, RowId, Signs, TransactionCell, Way, Ways, Wrong,
};

const BOTH: [bool; 2] = [false, true];
/// The issues that make rows true.
const ISSUES: std::ops::RangeInclusive<u8> = 4..=7;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTable {
    row: Vec<WrittenRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRow {
    id: String,
    title: String,
    event: String,
    replicas: u8,
    #[serde(default = "one")]
    min_isr: u8,
    kafka: String,
    ours: Option<String>,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    needs_clock_jump: bool,
    served_from: u8,
    #[serde(default)]
    scope: WrittenScope,
    cell: Option<Vec<WrittenCell>>,
    transaction: Option<Vec<WrittenTransaction>>,
    consumer: Option<Vec<WrittenConsumer>>,
}

const fn one() -> u8 {
    1
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WrittenScope {
    acks: Option<Vec<Acks>>,
    idempotence: Option<Vec<bool>>,
    retries: Option<Vec<bool>>,
    mode: Option<Vec<Mode>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCell {
    acks: Vec<Acks>,
    idempotence: Option<Vec<bool>>,
    retries: Option<Vec<bool>>,
    mode: Option<Vec<Mode>>,
    told: Vec<Told>,
    lost: Lost,
    duplicated: Duplicated,
    unacknowledged: Option<Unacknowledged>,
    #[serde(default = "kept")]
    order: Order,
    visible: Visible,
    #[serde(default)]
    sees: Vec<Sign>,
    #[serde(default)]
    may_see: Vec<Sign>,
}

const fn kept() -> Order {
    Order::Kept
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTransaction {
    mode: Option<Vec<Mode>>,
    outcome: Outcome,
    shown: Shown,
    stable_offset: StableOffset,
    #[serde(default)]
    sees: Vec<Sign>,
    #[serde(default)]
    may_see: Vec<Sign>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenConsumer {
    processed: Processed,
    commit: Commit,
    #[serde(default)]
    sees: Vec<Sign>,
    #[serde(default)]
    may_see: Vec<Sign>,
}

impl Guarantees {
    /// Reads a table.
    ///
    /// # Errors
    /// A word that is none, a field too many or too few, a row that is missing, twice or contradicts itself, a way of
    /// producing with no cell or with two.
    pub fn read(text: &str) -> Result<Self, Wrong> {
        let written: WrittenTable = toml::from_str(text).map_err(|error| Wrong(error.to_string()))?;
        let mut rows = Vec::new();
        for row in written.row {
            let id = row.id.clone();
            rows.push(row.checked().map_err(|what| Wrong(format!("row {id}: {what}")))?);
        }
        check_ids(&rows).map_err(Wrong)?;
        Ok(Self { rows })
    }
}

/// Every number once, in order, and cases by their letters from a on.
fn check_ids(rows: &[Row]) -> Result<(), String> {
    let mut expected = Vec::new();
    for family in Family::ALL {
        for number in 1..=family.count() {
            let cases = rows.iter().filter(|row| row.id.family == family && row.id.number == number).count();
            let letters = ('a'..='z').take(cases);
            match cases {
                0 => return Err(format!("row {}{number} is missing", family.letter())),
                1 => expected.push(RowId { family, number, case: None }),
                _ => expected.extend(letters.map(|case| RowId { family, number, case: Some(case) })),
            }
        }
    }
    let found: Vec<_> = rows.iter().map(|row| row.id).collect();
    match expected.iter().zip(&found).find(|(expected, found)| expected != found) {
        Some((expected, found)) => Err(format!("row {found} where {expected} belongs")),
        None if found.len() > expected.len() => Err("rows that are not known".to_owned()),
        None => Ok(()),
    }
}

impl std::str::FromStr for RowId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} names no row");
        let letters = Family::ALL.into_iter().rev();
        let mut families = letters.filter_map(|family| Some((family, text.strip_prefix(family.letter())?)));
        let (family, rest) = families.next().ok_or_else(wrong)?;
        let digits = rest.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        let mut case = rest[digits.len()..].chars();
        let number = digits.parse().map_err(|_| wrong())?;
        let id = Self { family, number, case: case.next() };
        if case.next().is_some() || number == 0 || number > family.count() || id.to_string() != text {
            return Err(wrong());
        }
        Ok(id)
    }
}

impl WrittenRow {
    fn checked(self) -> Result<Row, String> {
        let id: RowId = self.id.parse()?;
        if !ISSUES.contains(&self.served_from) {
            return Err(format!("served from issue {}, which makes no row true", self.served_from));
        }
        if self.replicas == 0 || self.min_isr == 0 || self.min_isr > self.replicas {
            return Err(format!("{} replicas, {} in sync", self.replicas, self.min_isr));
        }
        let texts = [&self.title, &self.event, &self.kafka].into_iter().chain(&self.ours);
        if texts.into_iter().any(|text| text.trim().is_empty() || text.trim() != text) {
            return Err("a text is empty, or has spaces around it".to_owned());
        }
        if !self.options.is_empty() && self.ours.is_none() {
            return Err("options, and no word of what they add".to_owned());
        }
        for option in &self.options {
            let (name, value) = option.split_once('=').ok_or_else(|| format!("{option} is no setting"))?;
            BrokerConfig::default().set(name, value)?;
        }
        let scope = self.scope.ways();
        let costs = match (id.family, self.cell, self.transaction, self.consumer) {
            (Family::Appending | Family::Producer, Some(cells), None, None) => {
                Costs::Append(cells_of(&scope, cells)?)
            }
            (Family::Transaction, None, Some(cells), None) => Costs::Transaction(transactions_of(cells)?),
            (Family::Consumer, None, None, Some(mut cells)) if cells.len() == 1 => {
                Costs::Consumer(cells.remove(0).checked()?)
            }
            _ => return Err("its cells are missing, or of another kind than the row".to_owned()),
        };
        Ok(Row {
            id,
            title: self.title,
            event: self.event,
            replicas: self.replicas,
            min_isr: self.min_isr,
            kafka: self.kafka,
            ours: self.ours,
            options: self.options,
            needs_clock_jump: self.needs_clock_jump,
            served_from: self.served_from,
            costs,
        })
    }
}

impl WrittenScope {
    fn ways(&self) -> Ways {
        Ways {
            acks: self.acks.clone().unwrap_or_else(|| Acks::ALL.to_vec()),
            idempotence: self.idempotence.clone().unwrap_or_else(|| BOTH.to_vec()),
            retries: self.retries.clone().unwrap_or_else(|| BOTH.to_vec()),
            mode: self.mode.clone().unwrap_or_else(|| Mode::ALL.to_vec()),
        }
    }
}

/// The cells of a row: exactly one for each way in its scope, and none beside it.
fn cells_of(scope: &Ways, written: Vec<WrittenCell>) -> Result<Vec<Cell>, String> {
    let mut cells = Vec::new();
    for cell in written {
        let name = format!("the cell of acks {:?}, told {:?}", cell.acks, cell.told);
        cells.push(cell.checked(scope).map_err(|what| format!("{name}: {what}"))?);
    }
    for way in Way::all() {
        let fitting = cells.iter().filter(|cell| cell.ways.contains(way)).count();
        if fitting != usize::from(scope.contains(way)) {
            return Err(format!("{fitting} cells for {way}"));
        }
    }
    Ok(cells)
}

impl WrittenCell {
    fn checked(self, scope: &Ways) -> Result<Cell, String> {
        let ways = Ways {
            acks: self.acks,
            idempotence: self.idempotence.unwrap_or_else(|| scope.idempotence.clone()),
            retries: self.retries.unwrap_or_else(|| scope.retries.clone()),
            mode: self.mode.unwrap_or_else(|| scope.mode.clone()),
        };
        let told: BTreeSet<_> = self.told.iter().copied().collect();
        let unanswered = ways.acks.contains(&Acks::None);
        if unanswered != told.contains(&Told::Sent) || (unanswered && (ways.acks.len(), told.len()) != (1, 1))
        {
            return Err("with acks=0, and only so, a batch is sent and nothing is told".to_owned());
        }
        if told.is_empty() || told.len() != self.told.len() {
            return Err("what the producer is told is missing, or said twice".to_owned());
        }
        let fails = told.iter().any(|told| !told.is_delivered());
        if fails != self.unacknowledged.is_some() {
            return Err(
                "what becomes of a batch that failed is said where one fails, and only there".to_owned()
            );
        }
        if told.contains(&Told::Refused) && self.unacknowledged != Some(Unacknowledged::Absent) {
            return Err("a batch that was refused is not stored".to_owned());
        }
        if self.lost != Lost::Nothing && told.iter().all(|told| !told.is_delivered()) {
            return Err("nothing was delivered that could be lost".to_owned());
        }
        let is_gone = self.lost == Lost::TheBatch || self.unacknowledged == Some(Unacknowledged::Absent);
        if is_gone && told.len() == 1 && self.visible != Visible::Never {
            return Err("what is not stored is seen by nobody".to_owned());
        }
        let signs = signs(self.sees, self.may_see)?;
        Ok(Cell {
            ways,
            told: self.told,
            lost: self.lost,
            duplicated: self.duplicated,
            unacknowledged: self.unacknowledged,
            order: self.order,
            visible: self.visible,
            signs,
        })
    }
}

fn transactions_of(written: Vec<WrittenTransaction>) -> Result<Vec<TransactionCell>, String> {
    let mut cells = Vec::new();
    for cell in written {
        cells.push(TransactionCell {
            mode: cell.mode.unwrap_or_else(|| Mode::ALL.to_vec()),
            outcome: cell.outcome,
            shown: cell.shown,
            stable_offset: cell.stable_offset,
            signs: signs(cell.sees, cell.may_see)?,
        });
    }
    for mode in Mode::ALL {
        let fitting = cells.iter().filter(|cell| cell.mode.contains(mode)).count();
        if fitting != 1 {
            return Err(format!("{fitting} cells for durability {mode}"));
        }
    }
    Ok(cells)
}

impl WrittenConsumer {
    fn checked(self) -> Result<ConsumerCell, String> {
        let signs = signs(self.sees, self.may_see)?;
        Ok(ConsumerCell { processed: self.processed, commit: self.commit, signs })
    }
}

fn signs(surely: Vec<Sign>, perhaps: Vec<Sign>) -> Result<Signs, String> {
    let all: Vec<_> = surely.iter().chain(&perhaps).copied().collect();
    match all.iter().enumerate().find(|(at, sign)| all[..*at].contains(sign)) {
        Some((_, sign)) => Err(format!("{sign} is said twice")),
        None => Ok(Signs { surely, perhaps }),
    }
}
