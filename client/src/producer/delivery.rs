//! Telling each record's sender what became of it, at the cost of one allocation per batch.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::accumulate::Appended;
use super::batch::BatchId;
use super::machine::{Completion, Receipt};
use crate::error::{Error, Result};
use crate::record::RecordMetadata;

/// How many wakers are looked at to see whether one is known already.
const WAKERS_COMPARED: usize = 8;

/// A record on its way: a future of where it ended up.
///
/// It may be dropped; the record is sent all the same, and [`Producer::flush`](super::Producer::flush) tells
/// whether anything failed.
pub struct Delivery {
    batch: Arc<BatchFate>,
    index: u32,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("index", &self.index).finish_non_exhaustive()
    }
}

/// What is known of the records of one batch. A batch may be settled in pieces, when the broker had it split.
#[derive(Default)]
struct BatchFate {
    state: Mutex<FateState>,
}

#[derive(Default)]
struct FateState {
    outcomes: Vec<(Range<u32>, Result<Receipt>)>,
    wakers: Vec<Waker>,
}

impl Future for Delivery {
    type Output = Result<RecordMetadata>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.batch.state.lock();
        if let Some((records, outcome)) =
            state.outcomes.iter().find(|(records, _)| records.contains(&self.index))
        {
            return Poll::Ready(metadata(outcome, self.index - records.start));
        }
        // Deliveries of a batch are often awaited by one task; looking at all wakers would be quadratic where not.
        let mut recent = state.wakers.iter().rev().take(WAKERS_COMPARED);
        if !recent.any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

fn metadata(outcome: &Result<Receipt>, place: u32) -> Result<RecordMetadata> {
    let receipt = outcome.as_ref().map_err(Error::clone)?;
    Ok(RecordMetadata {
        topic: receipt.at.topic.clone(),
        partition: receipt.at.partition,
        offset: receipt.base_offset.and_then(|base| base.checked_add(i64::from(place))),
        log_append_time: receipt.log_append_time,
    })
}

/// The batches whose fate somebody may wait for, in the order they were begun.
#[derive(Default)]
pub(super) struct Deliveries {
    /// The id of the first slot.
    first: u64,
    slots: VecDeque<Option<Slot>>,
    /// The first failure since it was last asked for.
    failure: Option<Error>,
}

struct Slot {
    fate: Arc<BatchFate>,
    settled: u32,
}

impl Deliveries {
    pub(super) fn of(&mut self, appended: Appended) -> Delivery {
        if self.slots.is_empty() {
            self.first = appended.batch.0;
        }
        let place = self.place(appended.batch);
        if place >= self.slots.len() {
            // Ids in between are pieces of split batches: those are told of under the id of the whole.
            self.slots.resize_with(place, || None);
            self.slots.push_back(Some(Slot { fate: Arc::default(), settled: 0 }));
        }
        let slot = self.slots[place].get_or_insert_with(|| Slot { fate: Arc::default(), settled: 0 });
        Delivery { batch: Arc::clone(&slot.fate), index: appended.index }
    }

    fn place(&self, batch: BatchId) -> usize {
        usize::try_from(batch.0 - self.first).unwrap_or(usize::MAX)
    }

    pub(super) fn settle(&mut self, completion: Completion) {
        let place = self.place(completion.batch);
        let Some(slot) = self.slots.get_mut(place).and_then(Option::as_mut) else { return };
        if let Err(error) = &completion.outcome {
            self.failure.get_or_insert_with(|| error.clone());
        }
        let count = completion.records.end - completion.records.start;
        slot.settled += count;
        let whole = slot.settled >= completion.of;
        let wakers = {
            let mut state = slot.fate.state.lock();
            state.outcomes.push((completion.records, completion.outcome));
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
        if whole {
            self.slots[place] = None;
            while let Some(None) = self.slots.front() {
                self.slots.pop_front();
                self.first += 1;
            }
        }
    }

    /// Whether every batch begun before `mark` is settled.
    pub(super) fn settled_before(&self, mark: BatchId) -> bool {
        self.slots.is_empty() || self.first >= mark.0
    }

    pub(super) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }
}
