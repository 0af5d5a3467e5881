//! All senders of a run, from the first record to the last acknowledgement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::lane::Lane;
use super::load::{Load, Source};
use super::measured::Measured;
use super::run::Run;
use super::schedule::Schedule;
use super::sender::{HandedOver, Sender};
use super::stamp::Stamp;

/// How long before the clock starts they get ready.
const LEAD: Duration = Duration::from_millis(5);

/// When the clock is to start.
pub(super) fn soon() -> Instant {
    Instant::now() + LEAD
}

/// What they are to do, together.
pub(super) struct Senders<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) load: &'a Load,
    pub(super) sources: Vec<Source>,
    pub(super) schedule: Schedule,
    pub(super) start: Instant,
    pub(super) records_a_turn: u64,
    pub(super) stamp: Option<Stamp>,
}

impl Senders<'_> {
    /// Sends until the schedule ends or it is stopped, and waits for what is on its way; an interrupt then gives that up.
    pub(super) async fn run(self) -> anyhow::Result<HandedOver> {
        let mut settling = JoinSet::new();
        let (mut threads, mut producers) = (Vec::new(), Vec::new());
        let Run { topic, stop, measured, .. } = self.run;
        let name: Arc<str> = topic.name.as_str().into();
        let of = self.sources.len() as u64;
        for (place, Source { producer, payload }) in (0..).zip(self.sources) {
            let lanes: Arc<[Arc<Lane>]> = (0..topic.partitions).map(|_| Arc::default()).collect();
            for lane in lanes.iter() {
                let (lane, size, measured) = (Arc::clone(lane), self.load.batches.size, measured.clone());
                settling.spawn(async move { lane.settle(size, measured).await });
            }
            let sender = Sender {
                place,
                of,
                schedule: self.schedule,
                start: self.start,
                producer: producer.clone(),
                payload,
                topic: Arc::clone(&name),
                stamp: self.stamp,
                lanes,
                records_a_turn: self.records_a_turn,
                stop: stop.clone(),
                measured: measured.clone(),
            };
            producers.push(producer);
            threads.push(tokio::task::spawn_blocking(move || sender.run(&Handle::current())));
        }
        let mut handed_over = HandedOver::default();
        for thread in threads {
            handed_over.merge(&thread.await?);
        }
        for producer in producers {
            // What lingers leaves now. Its failures are counted record by record.
            settling.spawn(async move { drop(producer.flush().await) });
        }
        tokio::select! {
            () = all(&mut settling) => {}
            _ = tokio::signal::ctrl_c() => {
                settling.shutdown().await;
                count_unanswered(measured, &handed_over);
            }
        }
        Ok(handed_over)
    }
}

fn count_unanswered(measured: &Measured, handed_over: &HandedOver) {
    let mut figures = measured.lock();
    let failed = figures.failures.total() - handed_over.refused;
    let unanswered = handed_over.records - figures.records - failed;
    figures.failures.add_named("unanswered", unanswered, || "interrupted while on its way".to_owned());
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}
