//! The fuzz targets without a fuzzer: every file of their corpora, and each damaged a little in many ways.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use highwater_tests::fuzz::{TARGETS, Target};
use highwater_tests::random::Random;

/// Inputs made of each corpus.
const MUTATIONS: u64 = 4_000;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus")).join(name);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn run((name, target): Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        println!("{name} fails on {} bytes: b\"{}\"", input.len(), input.escape_ascii());
        resume_unwind(panic);
    }
}

fn all_of(name: &str) {
    let target = TARGETS.into_iter().find(|target| target.0 == name).unwrap();
    let corpus = corpus(name);
    assert!(!corpus.is_empty());
    corpus.iter().for_each(|input| run(target, input));
    let mut random = Random::new(0);
    for _ in 0..MUTATIONS {
        let mut input = corpus[random.below(corpus.len())].clone();
        random.mutate(&mut input);
        run(target, &input);
    }
}

#[test]
fn requests() {
    all_of("request");
}

#[test]
fn batches() {
    all_of("batch");
}

#[test]
fn folders() {
    all_of("open");
}
