//! `highwater fault`: what happens to nodes of a broker that runs.

mod endpoint;
mod list;
mod order;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Fault {
    Kill(order::Kill),
    Poweroff(order::PowerOff),
    Stop(order::Stop),
    Start(order::Start),
    Pause(order::Pause),
    Resume(order::Resume),
    List(list::List),
}

impl Fault {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Kill(kill) => kill.run(),
            Self::Poweroff(power_off) => power_off.run(),
            Self::Stop(stop) => stop.run(),
            Self::Start(start) => start.run(),
            Self::Pause(pause) => pause.run(),
            Self::Resume(resume) => resume.run(),
            Self::List(list) => list.run(),
        }
    }
}
