//! The program as its users meet it: started as a process, given input and signals, judged by what it prints and how it
//! ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod benching;
mod configs;
mod consuming;
mod control;
mod failures;
mod groups;
mod harness;
mod logs;
mod nodes;
mod producing;
mod serving;
mod shells;
mod topics;
