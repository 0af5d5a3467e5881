//! `highwater fault`: what happens to nodes of a broker that runs, and to the links between them.

mod endpoint;
mod link;
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
    Cut(link::Cut),
    Heal(link::Heal),
    Isolate(order::Isolate),
    Rejoin(order::Rejoin),
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
            Self::Cut(cut) => cut.run(),
            Self::Heal(heal) => heal.run(),
            Self::Isolate(isolate) => isolate.run(),
            Self::Rejoin(rejoin) => rejoin.run(),
            Self::List(list) => list.run(),
        }
    }
}
