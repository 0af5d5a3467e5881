//! What happened in a test, compared with the table.
//!
//! A test carries out a row's event in every form it has (an answer lost, a connection cut), says of each run what the
//! producer was told, what readers saw and what is in the log, and the [`Judge`] holds it against the row's cell: equal,
//! not merely within bounds, wherever the cell's word is exact.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{Duplicated, Lost, Order, Sign, Told, Unacknowledged, Visible};
use super::{Cell, Row, RowId, Way};

/// One run of a row's event: what one producer sent to one partition, and what became of it. Values are unique.
#[derive(Debug, Default)]
pub struct Run {
    sent: Vec<(String, Told)>,
    met: BTreeSet<String>,
    lost_answers: usize,
    endangered: BTreeSet<String>,
    signs: Vec<Sign>,
    seen: BTreeSet<String>,
    stored: Vec<String>,
}

impl Run {
    /// A record was sent that the fault did not meet, and this is what its producer knows of it. In the order of sending.
    pub fn sent(&mut self, value: impl Into<String>, told: Told) {
        self.sent.push((value.into(), told));
    }

    /// The same of a record that the fault met.
    pub fn met(&mut self, value: impl Into<String>, told: Told) {
        let value = value.into();
        self.met.insert(value.clone());
        self.sent(value, told);
    }

    /// So many answers to what the fault met were lost, each of which made the producer send it again.
    pub fn lost_answers(&mut self, count: usize) {
        self.lost_answers = count;
    }

    /// What the cell's word for what is lost names in this run. Needed where it names more than the batch that was met.
    pub fn endangers(&mut self, values: impl IntoIterator<Item = impl Into<String>>) {
        self.endangered.extend(values.into_iter().map(Into::into));
    }

    /// The client met this.
    pub fn saw(&mut self, sign: Sign) {
        if !self.signs.contains(&sign) {
            self.signs.push(sign);
        }
    }

    /// A reader was given these, at whatever time.
    pub fn read(&mut self, values: impl IntoIterator<Item = impl Into<String>>) {
        self.seen.extend(values.into_iter().map(Into::into));
    }

    /// All that can be read at the end, in the order of the log.
    pub fn stored(&mut self, values: impl IntoIterator<Item = impl Into<String>>) {
        self.stored = values.into_iter().map(Into::into).collect();
    }

    fn copies(&self) -> BTreeMap<&str, usize> {
        let mut copies = BTreeMap::new();
        for value in &self.stored {
            *copies.entry(value.as_str()).or_insert(0) += 1;
        }
        copies
    }
}

/// Compares the runs of one row in one way of producing with its cell.
#[derive(Debug)]
pub struct Judge<'a> {
    row: RowId,
    way: Way,
    cell: &'a Cell,
    signs: Vec<Sign>,
    told: BTreeSet<Told>,
    runs: usize,
}

impl<'a> Judge<'a> {
    /// A judge of this row and way.
    ///
    /// # Panics
    /// If the row's event cannot happen to who produces so.
    #[must_use]
    pub fn of(row: &'a Row, way: Way) -> Self {
        let cell = row.cell(way).unwrap_or_else(|| panic!("row {} says nothing of {way}", row.id));
        Self { row: row.id, way, cell, signs: Vec::new(), told: BTreeSet::new(), runs: 0 }
    }

    /// The way of producing.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    /// Weighs one run.
    ///
    /// # Errors
    /// What is not as the cell says.
    pub fn weigh(&mut self, run: &Run) -> Result<(), String> {
        let judged = self.told(run).and_then(|()| self.lost(run));
        let judged = judged.and_then(|()| self.duplicated(run)).and_then(|()| self.unacknowledged(run));
        let judged = judged.and_then(|()| self.order(run)).and_then(|()| self.visible(run));
        judged.and_then(|()| self.signs(run)).map_err(|what| {
            format!("row {} with {}: {what}\nthe cell: {:?}\nthe run: {run:?}", self.row, self.way, self.cell)
        })?;
        self.runs += 1;
        Ok(())
    }

    /// Weighs all runs together: what surely comes has come.
    ///
    /// # Errors
    /// What has not.
    pub fn end(self) -> Result<(), String> {
        let all = |what: String| format!("row {} with {}: {what}", self.row, self.way);
        if self.runs == 0 {
            return Err(all("nothing was tried".to_owned()));
        }
        if let Some(sign) = self.cell.signs.surely.iter().find(|sign| !self.signs.contains(sign)) {
            return Err(all(format!("nobody met {sign}")));
        }
        match self.cell.told.iter().find(|told| !self.told.contains(told)) {
            Some(told) => Err(all(format!("nobody was told {told}"))),
            None => Ok(()),
        }
    }

    fn told(&mut self, run: &Run) -> Result<(), String> {
        if run.met.is_empty() {
            return Err("the fault met nothing".to_owned());
        }
        for (value, told) in run.sent.iter().filter(|(value, _)| run.met.contains(value)) {
            if !self.cell.told.contains(told) {
                return Err(format!("of {value:?} the producer was told {told}"));
            }
            self.told.insert(*told);
        }
        Ok(())
    }

    /// What was delivered and is not there is what the cell's word names.
    fn lost(&self, run: &Run) -> Result<(), String> {
        let copies = run.copies();
        let delivered = run.sent.iter().filter(|(_, told)| told.is_delivered());
        let lost: BTreeSet<_> =
            delivered.map(|(value, _)| value).filter(|value| !copies.contains_key(value.as_str())).collect();
        let named: BTreeSet<_> = match self.cell.lost {
            Lost::Nothing => BTreeSet::new(),
            Lost::TheBatch | Lost::PerhapsTheBatch => run.met.iter().collect(),
            _ if run.endangered.is_empty() => return Err("the test endangered nothing".to_owned()),
            _ => run.endangered.iter().collect(),
        };
        let is_as_said = if self.cell.lost.is_exact() { lost == named } else { lost.is_subset(&named) };
        if is_as_said { Ok(()) } else { Err(format!("lost is {lost:?}, not {}: {named:?}", self.cell.lost)) }
    }

    fn duplicated(&self, run: &Run) -> Result<(), String> {
        for (value, copies) in run.copies() {
            let (least, most) = match self.cell.duplicated {
                _ if !run.met.contains(value) => (1, 1),
                Duplicated::Nothing => (1, 1),
                Duplicated::Once => (2, 2),
                Duplicated::PerhapsOnce => (1, 2),
                Duplicated::OncePerLostAnswer => (1 + run.lost_answers, 1 + run.lost_answers),
            };
            if copies < least || copies > most {
                return Err(format!("{value:?} is there {copies} times"));
            }
            if !run.sent.iter().any(|(sent, _)| sent == value) {
                return Err(format!("nobody sent {value:?}"));
            }
        }
        if self.cell.duplicated == Duplicated::OncePerLostAnswer && run.lost_answers == 0 {
            return Err("no answer was lost".to_owned());
        }
        Ok(())
    }

    fn unacknowledged(&self, run: &Run) -> Result<(), String> {
        let copies = run.copies();
        for (value, _) in run.sent.iter().filter(|(_, told)| !told.is_delivered()) {
            let is_stored = copies.contains_key(value.as_str());
            let fits = match self.cell.unacknowledged {
                Some(Unacknowledged::Stored) => is_stored,
                Some(Unacknowledged::Absent) => !is_stored,
                Some(Unacknowledged::Either) => true,
                None => false,
            };
            if !fits {
                let is = if is_stored { "is" } else { "is not" };
                return Err(format!("{value:?} failed and {is} there"));
            }
        }
        Ok(())
    }

    fn order(&self, run: &Run) -> Result<(), String> {
        let mut firsts = Vec::new();
        for value in &run.stored {
            if !firsts.contains(&value) {
                firsts.push(value);
            }
        }
        let as_sent: Vec<_> =
            run.sent.iter().map(|(value, _)| value).filter(|v| firsts.contains(v)).collect();
        let order = if firsts == as_sent { Order::Kept } else { Order::Changed };
        if order == self.cell.order { Ok(()) } else { Err(format!("the order is {order}: {firsts:?}")) }
    }

    fn visible(&self, run: &Run) -> Result<(), String> {
        let is_stored = |value: &String| run.stored.contains(value);
        let wrong = run.met.iter().find(|value| match self.cell.visible {
            Visible::Never => run.seen.contains(*value) || is_stored(value),
            Visible::AsAnError => is_stored(value),
            // What is taken back was there to be read.
            Visible::UntilTakenBack => !is_stored(value) && !run.seen.contains(*value),
            Visible::PerhapsAfterRestart => run.seen.contains(*value) && !is_stored(value),
            Visible::WhenCommitted | Visible::WhenEnough | Visible::WhenCaughtUp | Visible::WhenLed => {
                self.cell.lost == Lost::Nothing && self.is_stored_for_sure() && !is_stored(value)
            }
        });
        match wrong {
            Some(value) => Err(format!("{value:?} is to be visible {}", self.cell.visible)),
            None => Ok(()),
        }
    }

    fn is_stored_for_sure(&self) -> bool {
        !matches!(self.cell.unacknowledged, Some(Unacknowledged::Either | Unacknowledged::Absent))
    }

    fn signs(&mut self, run: &Run) -> Result<(), String> {
        let known =
            |sign: &&Sign| self.cell.signs.surely.contains(sign) || self.cell.signs.perhaps.contains(sign);
        if let Some(sign) = run.signs.iter().find(|sign| !known(sign)) {
            return Err(format!("the client met {sign}"));
        }
        self.signs.extend(&run.signs);
        Ok(())
    }
}
