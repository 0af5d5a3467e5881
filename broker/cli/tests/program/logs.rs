//! `highwater log`.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Broker, Ran, finish, highwater, next_line};

const SEGMENT: &str = "00000000000000000000.log";

fn log(args: &[&str]) -> Ran {
    finish(highwater(&[&["log"], args].concat()).spawn().unwrap(), b"")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with the data of a broker, and the partition `t-0` in it.
struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    /// Two batches at offsets 0 to 1 and 2 to 2.
    fn small(end: Signal) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::on(folder.path());
        broker.topic("t", &[]);
        let first = "{\"timestamp\":100,\"key\":\"k\",\"value\":\"one\",\"headers\":{\"h\":\"v\"}}\n\
                     {\"timestamp\":101,\"valueBase64\":\"/wA=\"}";
        broker.produce(&["-t", "t", "--json", "--linger", "1s"], first);
        broker.produce(&["-t", "t", "--json", "-z", "lz4"], r#"{"timestamp":102}"#);
        broker.end(end);
        Self { folder }
    }

    /// Several segments.
    fn large(end: Signal) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::on(folder.path());
        broker
            .run(&["bench", "produce", "-n", "4000", "-t", "t", "--keep", "-c", "segment.bytes=1048576"])
            .text();
        broker.end(end);
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn partition(&self) -> PathBuf {
        self.path().join("node-0/t-0")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.partition().join(name)
    }

    /// Changes a byte of a file.
    fn flip(&self, name: &str, position: u64) {
        let file = OpenOptions::new().read(true).write(true).open(self.file(name)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, position).unwrap();
        file.write_all_at(&[byte[0] ^ 1], position).unwrap();
    }

    /// Every file's bytes.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn visit(dir: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    visit(&path, into)
                } else {
                    drop(into.insert(path.clone(), fs::read(path).unwrap()))
                }
            }
        }
        let mut contents = BTreeMap::new();
        visit(self.path(), &mut contents);
        contents
    }
}

#[test]
fn batches_are_shown_with_their_places() {
    let data = Data::small(Signal::TERM);
    let partition = data.partition();
    let shown = lines(&log(&["dump", "--json", text(&partition)]).text());
    let [first, second] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!(first["file"], text(&data.file(SEGMENT)));
    for (batch, name, expected) in [
        (first, "position", 0.into()),
        (first, "baseOffset", 0.into()),
        (first, "lastOffset", 1.into()),
        (first, "records", 2.into()),
        (first, "leaderEpoch", 0.into()),
        (first, "codec", "none".into()),
        (first, "baseTimestamp", 100.into()),
        (first, "maxTimestamp", 101.into()),
        (first, "baseSequence", 0.into()),
        (first, "control", false.into()),
        (first, "crcOk", true.into()),
        (second, "position", first["bytes"].clone()),
        (second, "baseOffset", 2.into()),
        (second, "codec", "lz4".into()),
    ] {
        assert_eq!(batch[name], expected, "{name}: {batch}");
    }
    let shown = log(&["dump", text(&partition), "--records"]).text();
    for expected in [
        "@0 100 key \"k\" value \"one\" \"h\"=\"v\"\n",
        "@1 101 key null value \"\\xff\\x00\"\n",
        "@2 102 key null value null\n",
        "  ok\n",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(shown.starts_with(&format!("{}\n  POSITION  OFFSETS ", text(&data.file(SEGMENT)))), "{shown}");
}

#[test]
fn offsets_and_counts_bound_what_is_shown() {
    let data = Data::small(Signal::TERM);
    let partition = data.partition();
    for (args, expected) in [
        (&[][..], "0 1 2 "),
        (&["-o", "1"], "1 2 "),
        (&["-o", "1..2"], "1 "),
        (&["-o", "..2"], "0 1 "),
        (&["-o", "3"], ""),
        (&["-c", "2"], "0 1 "),
        (&["-o", "1", "-c", "1"], "1 "),
        (&["-c", "0"], ""),
    ] {
        let args = [&["dump", text(&partition), "-f", "%o "], args].concat();
        assert_eq!(log(&args).text(), expected, "{args:?}");
    }
    let batches =
        |args: &[&str]| lines(&log(&[&["dump", text(&partition), "--json"], args].concat()).text()).len();
    assert_eq!((batches(&["-o", "1..2"]), batches(&["-o", "1"]), batches(&["-c", "1"])), (1, 2, 1));
    assert_eq!(log(&["dump", text(&partition), "-Z", "-f", "%k=%s;", "-o", "2"]).text(), "NULL=NULL;");
}

#[test]
fn records_can_be_rescued_from_the_files() {
    let data = Data::small(Signal::TERM);
    let rescued = log(&["dump", text(&data.partition()), "--records", "--json"]).text();
    let broker = Broker::in_memory();
    broker.produce(&["--json"], &rescued);
    assert_eq!(broker.consume(&["-t", "t", "--json"]), rescued);
    assert_eq!(rescued.lines().count(), 3);
}

#[test]
fn every_file_is_shown_for_what_it_is() {
    let data = Data::large(Signal::TERM);
    let all = log(&["dump", "--all", "--json", text(&data.partition())]).text();
    let all = lines(&all);
    let of = |suffix: &str| -> Vec<&Value> {
        all.iter().filter(|line| line["file"].as_str().unwrap().ends_with(suffix)).collect()
    };
    let batches = of(".log");
    let of_first: Vec<_> =
        batches.iter().filter(|batch| batch["file"] == text(&data.file(SEGMENT))).collect();
    for entry in of("00000000000000000000.index") {
        let is_there = |batch: &&&&Value| {
            batch["position"] == entry["position"] && batch["lastOffset"] == entry["lastOffset"]
        };
        assert!(of_first.iter().any(|batch| is_there(&batch)), "{entry}");
    }
    assert!(!of("00000000000000000000.index").is_empty() && !of(".timeindex").is_empty());
    let snapshots = of(".snapshot");
    assert!(snapshots.iter().all(|entry| entry["producerId"].is_i64() && entry["lastSequence"].is_i64()));
    let end = batches.last().unwrap()["lastOffset"].as_i64().unwrap();
    assert_eq!(snapshots.last().unwrap()["lastOffset"], end);
    assert_eq!(of("leader-epoch-checkpoint")[0]["startOffset"], 0);
    assert_eq!(of("partition.metadata")[0]["topicId"].as_str().unwrap().len(), 22);
    // One by one, for people.
    for (name, heading) in [
        ("00000000000000000000.index", "LAST OFFSET"),
        ("00000000000000000000.timeindex", "MAX TIME"),
        ("leader-epoch-checkpoint", "START OFFSET"),
        ("partition.metadata", "TOPIC ID"),
    ] {
        let shown = log(&["dump", text(&data.file(name))]).text();
        assert!(shown.lines().nth(1).unwrap().contains(heading), "{shown}");
        assert!(shown.lines().count() > 2, "{shown}");
    }
    let points =
        log(&["dump", text(&data.path().join("node-0/recovery-point-offset-checkpoint")), "--json"]).text();
    assert!(lines(&points).iter().any(|line| line["topic"] == "t" && line["offset"] == end + 1), "{points}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let data = Data::large(Signal::TERM);
    for args in [&["-r"][..], &["-r", "--json"], &["-f", "%o\n"]] {
        let mut dumping = highwater(&[&["log", "dump", text(data.path())], args].concat()).spawn().unwrap();
        let mut stdout = dumping.stdout.take().unwrap();
        assert_ne!(next_line(&mut stdout), "");
        drop(stdout);
        finish(dumping, b"").text();
    }
}

#[test]
fn a_data_folder_is_sound_however_its_broker_ended() {
    for end in [Signal::TERM, Signal::KILL] {
        let data = Data::large(end);
        let before = data.contents();
        let verified = log(&["verify", text(data.path())]).text();
        // The end of a process may leave a file half made.
        let is_sound = verified.ends_with(" bytes: sound\n");
        assert!(is_sound || end == Signal::KILL && verified.contains(" bytes: sound, "), "{verified}");
        assert!(verified.lines().next_back().unwrap().starts_with("2 partitions, "), "{verified}");
        let verdict: Value =
            serde_json::from_str(&log(&["verify", "--json", text(data.path())]).text()).unwrap();
        assert_eq!((&verdict["sound"], &verdict["partitions"]), (&true.into(), &2.into()));
        // Those of the cluster's own log, and one with which the producer connected.
        assert!(verdict["records"].as_i64().unwrap() > 4001, "{verdict}");
        assert_eq!(log(&["verify", "-q", text(data.path())]).text(), "");
        log(&["dump", "--all", text(data.path())]).text();
        assert!(data.contents() == before, "a byte was changed");
    }
}

#[test]
fn it_works_beside_a_running_broker() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::on(folder.path());
    broker.topic("t", &["-c", "segment.bytes=1048576"]);
    let producing = broker.spawn(&["bench", "produce", "-t", "t", "-n", "20000", "--json"]);
    while broker.consume(&["-t", "t", "-c", "2", "-f", "x"]).len() < 2 {}
    for _ in 0..5 {
        let verified = log(&["verify", "-q", text(folder.path())]);
        assert_eq!((verified.code(), verified.out().as_str(), verified.err().as_str()), (Some(0), "", ""));
        // It may end in the middle of a batch.
        assert_ne!(log(&["dump", text(folder.path()), "-f", ""]).code(), Some(2));
    }
    finish(producing, b"").text();
    assert!(log(&["verify", text(folder.path())]).text().contains(" bytes: sound"));
}

#[test]
fn what_an_unclean_stop_leaves_is_harmless() {
    let data = Data::small(Signal::KILL);
    let path = data.file(SEGMENT);
    let whole = fs::read(&path).unwrap();
    let second = lines(&log(&["dump", "--json", text(&path)]).text())[1]["position"].as_u64().unwrap();
    for tail in [whole[usize::try_from(second).unwrap()..].split_last().unwrap().1.to_vec(), vec![0; 4096]] {
        let kept = usize::try_from(second).unwrap();
        fs::write(&path, [&whole[..kept], &tail].concat()).unwrap();
        let ran = log(&["verify", text(data.path())]);
        let said = format!("harmless: {} at byte {second}: {} ", text(&path), tail.len());
        assert!(ran.out().contains(&said), "{}", ran.out());
        assert!(
            ran.out().ends_with("1 harmless finding\n") || ran.out().contains(" harmless findings\n"),
            "{}",
            ran.out()
        );
        assert_eq!(ran.code(), Some(0));
        assert_eq!(log(&["verify", "--strict", text(data.path())]).code(), Some(1));
        // What is there is shown; that it ends oddly, too.
        let shown = log(&["dump", text(&path)]);
        assert_eq!(shown.code(), Some(1));
        assert!(shown.out().contains("DAMAGED: "), "{}", shown.out());
    }
}

#[test]
fn damage_is_told_by_file_and_position() {
    let data = Data::large(Signal::TERM);
    let batches = lines(&log(&["dump", "--json", text(&data.file(SEGMENT))]).text());
    let position = batches[1]["position"].as_u64().unwrap();
    data.flip(SEGMENT, position + 70);
    let ran = log(&["verify", text(data.path())]);
    let said = format!("DAMAGE: {} at byte {position}: damaged: ", text(&data.file(SEGMENT)));
    assert_eq!(
        (ran.code(), ran.out().lines().filter(|line| line.starts_with(&said)).count()),
        (Some(1), 1),
        "{}",
        ran.out()
    );
    assert!(ran.out().contains(" thing"), "{}", ran.out());
    let verdict: Value = serde_json::from_str(&log(&["verify", "--json", text(data.path())]).out()).unwrap();
    let finding = &verdict["findings"][0];
    assert_eq!(
        (&verdict["sound"], &finding["position"], &finding["harmless"]),
        (&false.into(), &position.into(), &false.into())
    );
    let shown = log(&["dump", text(&data.file(SEGMENT)), "--json"]);
    assert_eq!(shown.code(), Some(1));
    assert_eq!(lines(&shown.out())[1]["crcOk"], false);
    let shown = log(&["dump", text(&data.file(SEGMENT))]);
    assert_eq!((shown.code(), shown.out().matches("  WRONG\n").count()), (Some(1), 1));
}

#[test]
fn damage_of_the_small_files_is_found_too() {
    for (name, bytes) in [
        ("00000000000000000000.index", &[0xff, 0, 0, 0, 0, 0, 0, 1][..]),
        ("00000000000000000000.timeindex", &[0x7f; 12]),
        ("../recovery-point-offset-checkpoint", b"0\n9\n"),
        ("partition.metadata", b"nonsense"),
    ] {
        let data = Data::large(Signal::TERM);
        fs::write(data.file(name), bytes).unwrap();
        let ran = log(&["verify", text(data.path())]);
        let name = name.trim_start_matches("../");
        assert_eq!(ran.code(), Some(1), "{name}: {}", ran.out());
        assert!(ran.out().contains("DAMAGE: ") && ran.out().contains(name), "{name}: {}", ran.out());
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_read() {
    let data = Data::small(Signal::TERM);
    let (segment, missing) = (data.file(SEGMENT), data.path().join("missing"));
    for command in ["dump", "verify"] {
        let ran = log(&[command, text(&missing), text(&data.partition())]);
        assert_eq!(ran.code(), Some(2), "{command}");
        assert_eq!(
            ran.err(),
            format!("highwater: {}: No such file or directory (os error 2)\n", text(&missing))
        );
        assert!(!ran.out().is_empty(), "{command}");
        let empty = tempfile::tempdir().unwrap();
        let ran = log(&[command, text(empty.path())]);
        let said = format!("highwater: {}: no partition in this folder\n", text(empty.path()));
        assert_eq!((ran.code(), ran.err()), (Some(2), said), "{command}");
    }
    let ran = log(&["verify", text(&segment)]);
    let said = format!("highwater: {}: a file; its folder is what can be verified\n", text(&segment));
    assert_eq!((ran.code(), ran.err()), (Some(2), said));
    let stranger = data.path().join("highwater.lock");
    assert_eq!(log(&["dump", text(&stranger)]).code(), Some(2));
    for args in
        [&["dump"][..], &["verify"], &["dump", ".", "-o", "9..7"], &["dump", ".", "-f", "%s", "--json"], &[]]
    {
        log(args).usage_error();
    }
}
