use super::judge::{Judge, Run};
use super::words::{Acks, Mode, Sign, Told};
use super::{Costs, Guarantees, Row, SOURCE, TABLE, Way, page};

const WAY: Way = Way { acks: Acks::All, idempotence: false, retries: true, mode: Mode::None };

/// The file with one place changed, which must be there.
fn changed(from: &str, to: &str) -> String {
    assert!(SOURCE.contains(from), "{from:?} is not in the file");
    SOURCE.replacen(from, to, 1)
}

fn refused(text: &str) -> String {
    Guarantees::read(text).expect_err("a wrong file is refused").to_string()
}

/// The file without the row of this id.
fn without(id: &str) -> String {
    let rows: Vec<_> = SOURCE.split("[[row]]").collect();
    let kept: Vec<_> =
        rows.iter().filter(|row| !row.contains(&format!("\nid = \"{id}\"\n"))).copied().collect();
    assert_eq!(kept.len() + 1, rows.len());
    kept.join("[[row]]")
}

#[test]
fn the_file_is_whole() {
    let table = Guarantees::read(SOURCE).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(table.row("1").cell(WAY).unwrap().told, [Told::Acknowledged]);
    let ways: usize = table.rows().iter().map(|row| row.ways().count()).sum();
    assert!(ways > 1000, "{ways} ways");
}

#[test]
fn the_page_in_docs_says_what_the_file_says() {
    let docs = include_str!("../../../docs/guarantees.md");
    assert!(
        docs == page::page(&TABLE),
        "docs/guarantees.md is old: cargo run -p highwater-tests --example guarantees"
    );
}

#[test]
fn unknown_words_are_refused() {
    for (from, to) in [
        ("lost = \"nothing\"", "lost = \"hardly anything\""),
        ("told = [\"sent\"]", "told = [\"thrown\"]"),
        ("visible = \"when committed\"", "visible = \"soon\""),
        ("acks = [\"0\"]", "acks = [\"2\"]"),
        ("mode = [\"none\"]", "mode = [\"some\"]"),
        ("NOT_ENOUGH_REPLICAS", "TOO_FEW_REPLICAS"),
        ("\"silence\"", "\"NONE\""),
        ("outcome = \"aborted\"", "outcome = \"commuted\""),
        ("processed = \"again\"", "processed = \"twice\""),
        ("replicas = 1\n", "replicas = 1\ncopies = 1\n"),
    ] {
        assert!(refused(&changed(from, to)).contains("TOML parse error"), "{to}");
    }
}

#[test]
fn rows_that_are_missing_or_twice_are_refused() {
    for (id, complaint) in [
        ("5", "row 5 is missing"),
        ("24", "row 24 is missing"),
        ("T14", "row T14 is missing"),
        ("C7", "row C7 is missing"),
        ("6a", "row 6b where 6a belongs"),
        ("U2b", "row U2a where U2 belongs"),
    ] {
        assert_eq!(refused(&without(id)), complaint);
    }
    assert_eq!(refused(&changed("id = \"2\"", "id = \"1\"")), "row 2 is missing");
    for id in ["25", "0", "X1", "T15", "6A", "", "6ab", "01"] {
        let complaint = refused(&changed("id = \"2\"", &format!("id = \"{id}\"")));
        assert!(complaint.contains("names no row"), "{complaint}");
    }
}

#[test]
fn ways_without_a_cell_or_with_two_are_refused() {
    // Row 5: acks=0 in one cell, the others in the other.
    let row = SOURCE.find("id = \"5\"").unwrap();
    let (before, after) = SOURCE.split_at(row);
    for (from, to, complaint) in [
        ("acks = [\"1\", \"all\"]", "acks = [\"1\"]", "0 cells for acks=all"),
        ("acks = [\"1\", \"all\"]", "acks = [\"1\", \"all\"], retries = [true]", "0 cells for acks=1"),
        ("{ acks = [\"0\"]", "{ idempotence = [true]", "missing field `acks`"),
        (
            "cell = [",
            "scope = { retries = [true] }\ncell = [\n{ acks = [\"1\"], retries = [false], told = [\"acknowledged\"], lost = \"nothing\", duplicated = \"nothing\", visible = \"when committed\" },",
            "1 cells for acks=1",
        ),
        (
            "cell = [",
            "cell = [\n{ acks = [\"1\"], told = [\"acknowledged\"], lost = \"nothing\", duplicated = \"nothing\", visible = \"when committed\" },",
            "2 cells for acks=1",
        ),
    ] {
        assert!(after.contains(from));
        let complaint_found = refused(&format!("{before}{}", after.replacen(from, to, 1)));
        assert!(complaint_found.contains(complaint), "{complaint_found}");
    }
}

#[test]
fn rows_that_contradict_themselves_are_refused() {
    for (from, to, complaint) in [
        ("acks = [\"0\"], told = [\"sent\"]", "acks = [\"0\"], told = [\"acknowledged\"]", "with acks=0"),
        ("unacknowledged = \"stored\", ", "", "what becomes of a batch that failed"),
        (
            "told = [\"refused\"], lost = \"nothing\", duplicated = \"nothing\", unacknowledged = \"absent\"",
            "told = [\"refused\"], lost = \"nothing\", duplicated = \"nothing\", unacknowledged = \"either\"",
            "refused is not stored",
        ),
        (
            "told = [\"unknown\"], lost = \"nothing\"",
            "told = [\"unknown\"], lost = \"the batch\"",
            "nothing was delivered",
        ),
        (
            "lost = \"the batch\", duplicated = \"nothing\", visible = \"never\"",
            "lost = \"the batch\", duplicated = \"nothing\", visible = \"when committed\"",
            "seen by nobody",
        ),
        ("sees = [\"silence\", \"disconnect\"]", "sees = [\"silence\", \"silence\"]", "said twice"),
        (
            "options = [\"highwater.durability=leader\"",
            "options = [\"highwater.durability=often\"",
            "highwater.durability",
        ),
        ("served_from = 4", "served_from = 3", "makes no row true"),
        ("min_isr = 2", "min_isr = 4", "4 in sync"),
        ("title = \"the acknowledgement is lost\"", "title = \"\"", "a text is empty"),
        (
            "processed = \"again\", commit = \"absent\" }]",
            "processed = \"again\", commit = \"absent\" }]\ntransaction = []",
            "of another kind",
        ),
    ] {
        let found = refused(&changed(from, to));
        assert!(found.contains(complaint), "{found}");
    }
}

#[test]
fn where_we_go_beyond_kafka_the_option_is_named() {
    for row in TABLE.rows().iter() {
        let Costs::Append(cells) = &row.costs else { continue };
        let depends = cells.iter().any(|cell| cell.ways.mode.len() < Mode::ALL.len());
        let is_scoped = row.ways().all(|way| way.mode == Mode::None);
        assert!(!depends || is_scoped || !row.options.is_empty(), "row {} names no option", row.id);
    }
}

fn judged(row: &Row, way: Way, run: &Run) -> Result<(), String> {
    let mut judge = Judge::of(row, way);
    judge.weigh(run)?;
    judge.end()
}

/// Row 1 at acks=all without idempotence, as the cell says it: one answer of two lost, and two copies.
fn one_answer_lost() -> Run {
    let mut run = Run::default();
    run.sent("before", Told::Acknowledged);
    run.met("a", Told::Acknowledged);
    run.lost_answers(1);
    run.saw(Sign::Silence);
    run.saw(Sign::Disconnect);
    run.stored(["before", "a", "a"]);
    run
}

#[test]
fn a_run_that_is_as_the_cell_says_is_right() {
    judged(TABLE.row("1"), WAY, &one_answer_lost()).unwrap();
}

#[test]
fn a_run_that_is_not_as_the_cell_says_is_wrong() {
    type Change = fn(&mut Run);
    let wrong: [(&str, Change); 9] = [
        ("there 1 times", |run| run.stored(["before", "a"])),
        ("there 3 times", |run| run.stored(["before", "a", "a", "a"])),
        ("lost is {\"before\"}", |run| run.stored(["a", "a"])),
        ("lost is {\"a\"}", |run| run.stored(["before"])),
        ("nobody sent \"b\"", |run| run.stored(["before", "a", "a", "b"])),
        ("order is changed", |run| run.stored(["a", "before", "a"])),
        ("the client met NOT_LEADER_OR_FOLLOWER", |run| {
            run.saw(Sign::Code(highwater_protocol::ErrorCode::NotLeaderOrFollower));
        }),
        ("no answer was lost", |run| {
            run.lost_answers(0);
            run.stored(["before", "a"]);
        }),
        ("of \"c\" the producer was told unknown", |run| run.met("c", Told::Unknown)),
    ];
    for (complaint, change) in wrong {
        let mut run = one_answer_lost();
        change(&mut run);
        let found = judged(TABLE.row("1"), WAY, &run).unwrap_err();
        assert!(found.contains(complaint), "{complaint}: {found}");
    }
}

#[test]
fn what_surely_comes_must_have_come() {
    let mut run = Run::default();
    run.met("a", Told::Acknowledged);
    run.lost_answers(1);
    run.saw(Sign::Silence);
    run.stored(["a", "a"]);
    assert!(judged(TABLE.row("1"), WAY, &run).unwrap_err().contains("nobody met disconnect"));
    assert!(Judge::of(TABLE.row("1"), WAY).end().unwrap_err().contains("nothing was tried"));
}

#[test]
fn exact_words_for_what_is_lost_mean_all_of_it_and_nothing_else() {
    let way = Way { acks: Acks::Leader, ..WAY };
    let run = |stored: &[&str]| {
        let mut run = Run::default();
        run.sent("kept", Told::Acknowledged);
        run.met("a", Told::Acknowledged);
        run.met("b", Told::Acknowledged);
        run.read(["kept"]);
        run.endangers(["a", "b"]);
        run.stored(stored.iter().copied());
        judged(TABLE.row("3"), way, &run)
    };
    run(&["kept"]).unwrap();
    for stored in [&["kept", "a"][..], &["kept", "a", "b"], &["a"], &[]] {
        assert!(run(stored).unwrap_err().contains("lost is"), "{stored:?}");
    }
}

#[test]
fn what_failed_is_there_or_not_as_the_cell_says() {
    let way = Way { retries: false, ..WAY };
    let run = |row: &str, stored: &[&str]| {
        let mut run = Run::default();
        run.met("a", Told::Unknown);
        run.saw(Sign::Silence);
        run.saw(Sign::Disconnect);
        run.stored(stored.iter().copied());
        judged(TABLE.row(row), way, &run)
    };
    run("1", &["a"]).unwrap();
    run("2", &[]).unwrap();
    assert!(run("1", &[]).unwrap_err().contains("failed and is not there"));
    assert!(run("2", &["a"]).unwrap_err().contains("failed and is there"));
}
