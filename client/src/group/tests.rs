//! The machine in conversation with a scripted coordinator, and several of them in a simulated group.

mod commits;
mod consumer_members;
mod conversation;
mod model;
mod rebalances;
mod starts;
