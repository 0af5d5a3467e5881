//! What decides and composes touches nothing: read out of the sources.

use std::path::{Path, PathBuf};

/// The folders that decide and compose, and the one that runs them without a world.
const PURE: [&str; 8] =
    ["partition", "producer", "cluster", "group", "transaction", "controller", "node", "lab"];
/// What they do without: sockets, files past a `Disk`, threads, clocks, chance.
const FOREIGN: [&str; 9] = [
    "tokio",
    "std::fs",
    "std::net",
    "std::thread",
    "std::time",
    "Instant::now",
    "SystemTime",
    "RandomState",
    "getrandom",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match (path.is_dir(), name.as_str()) {
            (_, "tests" | "tests.rs") => {}
            (true, _) => found.extend(sources(&path)),
            (false, name) if name.ends_with(".rs") => found.push(path),
            (false, _) => {}
        }
    }
    found
}

/// The lines of a file that are code, without its tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines().enumerate();
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn who_decides_and_composes_knows_no_file_no_socket_no_clock_and_no_chance() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<_> = PURE.iter().flat_map(|folder| sources(&root.join(folder))).collect();
    assert!(files.len() > 60, "{} files", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (place, line) in code(&text) {
            let foreign = FOREIGN.iter().find(|foreign| line.contains(*foreign));
            assert_eq!(foreign, None, "{}:{}", file.display(), place + 1);
        }
    }
}
