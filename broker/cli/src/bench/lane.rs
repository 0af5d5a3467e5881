//! Records of one producer on their way to one partition. Their acknowledgements come in order, so that each is seen when
//! it comes, whatever other partitions wait for.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use highwater::client::{Delivery, Error, RecordMetadata};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::measured::Measured;

/// Records counted with one reading of the clock, and one turn at the figures.
const COUNTED_AT_ONCE: usize = 64;

/// A record on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) delivery: Delivery,
    /// When its latency began to count.
    pub(super) due: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    queue: Mutex<Queue>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    sent: VecDeque<Sent>,
    is_closed: bool,
}

impl Lane {
    pub(super) fn push(&self, sent: Sent) {
        let mut queue = self.queue.lock();
        queue.sent.push_back(sent);
        let is_first = queue.sent.len() == 1;
        drop(queue);
        if is_first {
            self.more.notify_one();
        }
    }

    /// No more records come.
    pub(super) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.more.notify_one();
    }

    /// Counts every record as its acknowledgement comes, until the lane is closed and empty.
    pub(super) async fn settle(&self, record_bytes: usize, measured: Measured) {
        let mut burst = VecDeque::new();
        loop {
            let is_closed = {
                let mut queue = self.queue.lock();
                std::mem::swap(&mut queue.sent, &mut burst);
                queue.is_closed
            };
            if burst.is_empty() && is_closed {
                return;
            }
            while !burst.is_empty() {
                settle_some(&mut burst, record_bytes, &measured).await;
            }
            if !is_closed {
                self.more.notified().await;
            }
        }
    }
}

/// Waits for the first record, and counts it with those behind it that are acknowledged, too.
async fn settle_some(burst: &mut VecDeque<Sent>, record_bytes: usize, measured: &Measured) {
    let Some(first) = burst.front_mut() else { return };
    let outcome = (&mut first.delivery).await;
    let now = Instant::now();
    let mut settled = vec![(first.due, outcome)];
    burst.pop_front();
    while settled.len() < COUNTED_AT_ONCE
        && let Some(sent) = burst.front_mut()
        && let Poll::Ready(outcome) = peek(&mut sent.delivery).await
    {
        settled.push((sent.due, outcome));
        burst.pop_front();
    }
    let mut figures = measured.lock();
    for (due, outcome) in settled {
        match outcome {
            Ok(_) => figures.add(record_bytes, now.saturating_duration_since(due), now),
            Err(error) => figures.fail(&error),
        }
    }
}

/// Whether its fate is known already.
async fn peek(delivery: &mut Delivery) -> Poll<Result<RecordMetadata, Error>> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *delivery).poll(context))).await
}
