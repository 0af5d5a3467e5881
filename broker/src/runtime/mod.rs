//! Driving nodes: the only folder with sockets, tasks, the clock and the source of chance.
//!
//! [`NodeShell`] brings events to a node and carries out its effects; [`listener`] and [`connection`] speak TCP,
//! [`in_process`] does without. Whoever brings an event steps the node in its own thread: between a frame's last byte
//! and the log's write there is no hop to another one.

mod clock;
mod connection;
mod data_folder;
mod disk_worker;
mod frames;
mod in_process;
mod listener;
mod mailbox;
mod node_shell;
mod traffic;

pub(crate) use clock::{Clock, seed};
pub(crate) use data_folder::DataFolder;
pub use data_folder::FolderError;
pub(crate) use in_process::InProcess;
pub(crate) use listener::{Advertised, Listener};
pub(crate) use node_shell::NodeShell;
