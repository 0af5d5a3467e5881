//! Driving nodes: the only folder with sockets, tasks, the clock and the source of chance.
//!
//! [`NodeShell`] brings events to a node and carries out its effects; [`listener`] and [`connection`] speak TCP,
//! [`in_process`] does without. Whoever brings an event steps the node in its own thread: between a frame's last byte
//! and the log's write there is no hop to another one.

mod clock;
mod connection;
mod controller_shell;
mod data_folder;
mod disk_worker;
mod frames;
mod in_process;
mod links;
mod listener;
mod mailbox;
mod member;
mod node_shell;
mod ports;
mod pulse;
mod timer;
mod traffic;

pub(crate) use clock::{Clock, seed};
pub(crate) use controller_shell::ControllerShell;
pub(crate) use data_folder::DataFolder;
pub use data_folder::FolderError;
pub(crate) use in_process::InProcess;
pub(crate) use links::Links;
pub(crate) use listener::{Advertised, Named, Names, Sockets};
pub(crate) use member::{Member, NodeDisk, Plan, to_its_end};
pub use member::{NodeLife, NodeStartError};
pub(crate) use ports::Ports;
pub(crate) use pulse::Pulse;
#[cfg(test)]
pub(crate) use pulse::beat;
