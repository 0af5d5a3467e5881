//! Faults: what goes wrong on purpose, at an exact step.
//!
//! Every event that reaches a node and every effect that leaves it passes its [`Gate`]. An empty gate, as in
//! production, lets everything through for the price of one relaxed load.

mod endings;
mod gate;
mod kept_back;

#[cfg(test)]
pub(crate) use gate::Moment;
pub use gate::{Api, Fault, Gate, Step};

#[cfg(test)]
mod tests;
