//! `highwater bench`: how fast a cluster is, seen from a client.
//!
//! What holds for all of them: the clock starts when connections stand and partitions have leaders; a rate is a
//! timetable, and a record's latency counts from the time it was due, so that a broker that stalls is not spared the
//! records that had to wait (no coordinated omission); an error is counted under its name and makes the run fail; the
//! first ctrl-c ends the measuring, not the report.

mod batches;
mod consume;
mod failures;
mod lane;
mod latency;
mod load;
mod measured;
mod payload;
mod produce;
mod progress;
mod report;
mod run;
mod schedule;
mod sender;
mod senders;
mod stamp;
mod stop;
mod topic;

use clap::Subcommand;

use crate::bootstrap::block_on;

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    Produce(produce::Produce),
    Consume(consume::Consume),
    Latency(latency::Latency),
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Produce(produce) => block_on(produce.run()),
            Self::Consume(consume) => block_on(consume.run()),
            Self::Latency(latency) => block_on(latency.run()),
        }
    }
}
