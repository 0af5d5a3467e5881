use std::io::IoSlice;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::disk::{FaultDisk, FaultKind, MemoryDisk};

fn write(file: &Arc<dyn File>, position: u64, bytes: &[u8]) {
    file.write_at(position, &[IoSlice::new(bytes)]).unwrap();
}

fn in_memory() -> PowerDisk {
    PowerDisk::new(Arc::new(MemoryDisk::new()))
}

fn names_in(disk: &dyn Disk, dir: &str) -> Vec<String> {
    disk.list(Path::new(dir)).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn what_was_synced_stays_and_of_the_rest_what_the_seed_says() {
    let mut lengths = BTreeSet::new();
    for seed in 0..64 {
        let power = in_memory();
        let (disk, path) = (power.disk(), Path::new("f"));
        let file = disk.create(path).unwrap();
        write(&file, 0, &[1; 5000]);
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        write(&file, 5000, &[2; 20_000]);
        let loss = power.power_off(Unsynced::Drawn(seed)).unwrap();
        let left = power.disk().read(path).unwrap();
        assert_eq!(left[..5000], [1; 5000]);
        for (page, bytes) in (1..).zip(left[4096..].chunks(4096)) {
            let unsynced = if page == 1 { &bytes[5000 - 4096..] } else { bytes };
            assert!(
                unsynced.iter().all(|byte| *byte == unsynced[0] && *byte != 1),
                "seed {seed}, page {page}"
            );
        }
        assert_eq!(loss.pages == 0, left == [vec![1; 5000], vec![2; 20_000]].concat());
        lengths.insert(left.len());
        let again = power.power_off(Unsynced::Lost).unwrap();
        assert_eq!(
            (again, power.disk().read(path).unwrap()),
            (PowerLoss::default(), left),
            "what is left is durable"
        );
    }
    assert_eq!((lengths.first(), lengths.last(), lengths.len()), (Some(&5000), Some(&25_000), 7));
}

#[test]
fn synced_bytes_that_were_written_over_come_back() {
    let mut seen = BTreeSet::new();
    for seed in 0..128 {
        let power = in_memory();
        let (disk, path) = (power.disk(), Path::new("f"));
        let file = disk.create(path).unwrap();
        write(&file, 0, &[1; 10_000]);
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        write(&file, 4000, &[2; 200]);
        write(&file, 4050, &[3; 10]);
        power.power_off(Unsynced::Drawn(seed)).unwrap();
        let left = power.disk().read(path).unwrap();
        let old = |range: std::ops::Range<usize>| left[range].iter().all(|byte| *byte == 1);
        assert!(left.len() == 10_000 && old(0..4000) && old(4200..10_000));
        assert!(old(4000..4096) || left[4000] == 2 && left[4059] == 3);
        seen.insert((old(4000..4096), old(4096..4200)));
    }
    assert_eq!(seen.len(), 4);
}

/// Renames, replaced files and removals, in the order of a journal.
#[test]
fn names_are_undone_from_the_last_one_back() {
    let story = |power: &PowerDisk| {
        let disk = power.disk();
        disk.create_dir(Path::new("a/b")).unwrap();
        for name in ["a/b/one", "a/b/two", "a/three"] {
            disk.put(Path::new(name), name.as_bytes()).unwrap();
            disk.open(Path::new(name)).unwrap().sync().unwrap();
        }
        disk.sync_dir(Path::new("a/b")).unwrap();
        disk.sync_dir(Path::new("a")).unwrap();
        disk.rename(Path::new("a/b/one"), Path::new("a/b/two")).unwrap();
        disk.remove_file(Path::new("a/three")).unwrap();
        disk.rename(Path::new("a/b"), Path::new("a/c")).unwrap();
        disk.create(Path::new("a/c/four")).unwrap();
        disk.remove_dir_all(Path::new("a/c")).unwrap();
    };
    let stages: [(&[&str], &[&str]); 6] = [
        (&["b", "three"], &["b/one", "b/two"]),
        (&["b", "three"], &["b/two"]),
        (&["b"], &["b/two"]),
        (&["c"], &["c/two"]),
        (&["c"], &["c/four", "c/two"]),
        (&[], &[]),
    ];
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let power = in_memory();
        story(&power);
        let loss = power.power_off(Unsynced::Drawn(seed)).unwrap();
        let (disk, stage) = (power.disk(), 5 - loss.names);
        assert_eq!(names_in(&*disk, "a"), stages[stage].0, "seed {seed}");
        for name in stages[stage].1 {
            let read = disk.read(&Path::new("a").join(name)).unwrap();
            let holds = match *name {
                "b/two" if stage == 0 => "a/b/two",
                "c/four" => "",
                _ => "a/b/one",
            };
            assert_eq!(String::from_utf8(read).unwrap(), holds, "seed {seed}, {name}");
        }
        seen.insert(stage);
    }
    assert_eq!(seen.len(), 6);
}

#[test]
fn a_life_that_ended_changes_nothing_any_more() {
    let power_off = |power: &PowerDisk| assert_eq!(power.power_off(Unsynced::Lost).unwrap().pages, 0);
    for ends in [PowerDisk::kill, power_off] {
        let power = in_memory();
        let (disk, path) = (power.disk(), Path::new("f"));
        let file = disk.create(path).unwrap();
        write(&file, 0, b"abc");
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        ends(&power);
        assert!(file.write_at(3, &[IoSlice::new(b"d")]).is_err() && file.set_len(0).is_err());
        assert!(file.make_room(3, 9).is_err() && file.cut_excess().is_err() && file.sync().is_err());
        assert!(disk.create(Path::new("g")).is_err() && disk.remove_file(path).is_err());
        assert!(disk.rename(path, Path::new("g")).is_err() && disk.sync_dir(Path::new("")).is_err());
        assert!(
            disk.create_dir(path).is_err() && disk.remove_dir_all(path).is_err() && disk.list(path).is_err()
        );
        assert_eq!(power.disk().read(path).unwrap(), b"abc");
    }
}

#[test]
fn what_a_killed_life_did_not_sync_is_lost_when_the_power_goes_later() {
    let power = in_memory();
    let path = Path::new("f");
    let file = power.disk().create(path).unwrap();
    write(&file, 0, b"abc");
    power.kill();
    let disk = power.disk();
    assert_eq!(disk.read(path).unwrap(), b"abc");
    disk.sync_dir(Path::new("")).unwrap();
    power.power_off(Unsynced::Lost).unwrap();
    assert_eq!(power.disk().read(path).unwrap(), b"");
}

#[test]
fn a_sync_that_fails_makes_nothing_durable() {
    let below = FaultDisk::in_memory();
    let power = PowerDisk::new(Arc::new(below.clone()));
    let (disk, path) = (power.disk(), Path::new("f"));
    let file = disk.create(path).unwrap();
    write(&file, 0, &[1; 100]);
    file.sync().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    write(&file, 50, &[2; 100]);
    below.fail_at(below.calls(), FaultKind::Error(io::ErrorKind::Other));
    assert!(file.sync().is_err());
    power.power_off(Unsynced::Lost).unwrap();
    assert_eq!(power.disk().read(path).unwrap(), [1; 100]);
}

#[test]
fn of_very_many_removals_the_oldest_are_durable() {
    let power = in_memory();
    let disk = power.disk();
    let path = |n: usize| PathBuf::from(format!("{n:04}"));
    (0..HELD_FILES_LIMIT + 10).for_each(|n| disk.put(&path(n), b"x").unwrap());
    disk.sync_dir(Path::new("")).unwrap();
    (0..HELD_FILES_LIMIT + 10).for_each(|n| disk.remove_file(&path(n)).unwrap());
    power.power_off(Unsynced::Lost).unwrap();
    let left = names_in(&*power.disk(), "");
    assert_eq!((left.len(), left[0].as_str()), (HELD_FILES_LIMIT, "0010"));
}

#[cfg(unix)]
#[test]
fn readers_keep_their_bytes_when_the_power_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let power = PowerDisk::new(Arc::new(crate::disk::OsDisk::new()));
    let disk = power.disk();
    let file = disk.create(&path).unwrap();
    write(&file, 0, &[1; 5000]);
    file.sync().unwrap();
    disk.sync_dir(folder.path()).unwrap();
    write(&file, 5000, &[2; 100_000]);
    assert!(file.make_room(105_000, 200_000).unwrap());
    let slice = file.slice(0, 105_000).unwrap();
    let loss = power.power_off(Unsynced::Lost).unwrap();
    assert_eq!((loss.files, power.disk().read(&path).unwrap()), (1, vec![1; 5000]));
    assert!(slice[..5000].iter().all(|byte| *byte == 1) && slice[5000..].iter().all(|byte| *byte == 2));
    assert_eq!(names_in(&*power.disk(), folder.path().to_str().unwrap()), ["f"]);
}

/// What becomes of a file, byte by byte, as against a plain account of it.
#[derive(Debug, Clone)]
enum Step {
    Write { at: Index, len: usize },
    Room { len: usize },
    Cut { to: Index },
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<Index>(), 1usize..9000).prop_map(|(at, len)| Step::Write { at, len }),
        1 => (1usize..20_000).prop_map(|len| Step::Room { len }),
        1 => any::<Index>().prop_map(|to| Step::Cut { to }),
        2 => Just(Step::Sync),
    ]
}

fn check(disk: Arc<dyn Disk>, dir: &Path, steps: Vec<Step>, seed: Option<u64>) -> Result<(), TestCaseError> {
    let power = PowerDisk::new(disk);
    let (disk, path) = (power.disk(), dir.join("f"));
    let file = disk.create(&path).unwrap();
    disk.sync_dir(dir).unwrap();
    let (mut now, mut synced): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for (fill, step) in (1u8..).zip(steps) {
        match step {
            Step::Write { at, len } => {
                // Mostly at the end, as logs do.
                let at = if fill % 3 > 0 { now.len() } else { at.index(now.len() + 1) };
                now.resize(now.len().max(at + len), 0);
                now[at..at + len].fill(fill);
                write(&file, at as u64, &vec![fill; len]);
            }
            Step::Room { len } => {
                file.make_room(now.len() as u64, (now.len() + len) as u64).unwrap();
            }
            Step::Cut { to } => {
                let to = to.index(now.len() + 1);
                now.truncate(to);
                synced.truncate(to);
                file.set_len(to as u64).unwrap();
            }
            Step::Sync => {
                file.sync().unwrap();
                synced.clone_from(&now);
            }
        }
    }
    drop(file);
    power.power_off(seed.map_or(Unsynced::Lost, Unsynced::Drawn)).unwrap();
    let left = power.disk().read(&path).unwrap();
    prop_assert!(left.len() >= synced.len());
    for at in 0..left.len().max(now.len()) {
        let (is, was, new) = (left.get(at), synced.get(at), now.get(at));
        let fine = match was {
            Some(was) => is == Some(was) || seed.is_some() && is == new,
            // Room, and pages that were lost before others, are zeros.
            None => is.is_none_or(|byte| *byte == 0) || seed.is_some() && is == new,
        };
        prop_assert!(fine, "byte {}: {:?}, was {:?}, then {:?}", at, is, was, new);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_file_is_what_was_synced_or_written_since(steps in vec(step(), 1..25), seed in prop::option::of(any::<u64>())) {
        check(Arc::new(MemoryDisk::new()), Path::new(""), steps, seed)?;
    }
}

#[cfg(unix)]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_file_of_the_system_is_what_was_synced_or_written_since(steps in vec(step(), 1..25), seed in prop::option::of(any::<u64>())) {
        let folder = tempfile::tempdir().unwrap();
        check(Arc::new(crate::disk::OsDisk::new()), folder.path(), steps, seed)?;
    }
}
