//! Writes docs/guarantees.md anew from broker/guarantees.toml.

use std::path::Path;

use highwater_tests::guarantees::{TABLE, page};

fn main() -> std::io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guarantees.md");
    std::fs::write(docs, page::page(&TABLE))
}
