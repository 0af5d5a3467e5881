//! What the parts of Highwater cost, each beside a limit measured in the same run.
//!
//! ```text
//! cargo bench -p highwater-benches                       all of them, about a minute
//! cargo bench -p highwater-benches -- append read/       those whose name contains one of these
//! ```
//!
//! [`measure`] says how to read a line. These find what became slower and why; how the whole program fares beside other
//! brokers is measured from outside, over sockets.

mod append;
mod batches;
mod codec;
mod compaction;
mod embedded;
mod limit;
mod measure;
mod read;
mod recovery;
mod sequence;

use measure::Bench;

fn main() {
    let mut bench = Bench::from_arguments(std::env::args().skip(1));
    append::run(&mut bench);
    read::run(&mut bench);
    recovery::run(&mut bench);
    compaction::run(&mut bench);
    codec::run(&mut bench);
    sequence::run(&mut bench);
    embedded::run(&mut bench);
}
