//! The table as people read it: docs/guarantees.md.

use std::fmt::Write as _;

use super::words::{
    Acks, Commit, Duplicated, Lost, Mode, Order, Outcome, Processed, Shown, Sign, StableOffset, Told,
    Unacknowledged, Visible,
};
use super::{Cell, Costs, Family, Guarantees, Row, Signs};

const HEAD: &str = "\
# What every fault may cost

<!-- Made from broker/guarantees.toml by `cargo run -p highwater-tests --example guarantees`; a test compares the two. -->

For whoever decides what to ask of a producer or a consumer, and wants to know the price of each answer: one row an event, one
line a way of producing, and what is then lost, there twice, told and seen. The rows are data (`broker/guarantees.toml`): a test
makes a row's event happen on a real log and compares the outcome with the row. Kafka's rules are those of Apache Kafka 4.3.1;
**Highwater** says where we differ.

Counts as delivered: what was acknowledged; with acks=0, where nobody answers, what was sent. A *way of producing* is `acks`,
idempotence (batches carry a producer id and a sequence; Kafka's clients and ours do this with acks=all and retries only), retries,
and the broker's `highwater.durability`.

## What replicas protect against here

Followers live in the leader's process, each with a folder of its own, and share nothing with it but the machine. They protect
against what happens to one replica: its death, its being cut off or slow, a disk or a folder of its own that fails. They do not
protect against the loss of the machine, or of a disk that all folders lie on. A process that is killed leaves the page cache, and
so everything that a write returned for; a power cut leaves what was synced, which by default, as in Kafka, may be nothing of
the last minutes: rows 9, 10 and 11.
";

/// The page.
#[must_use]
pub fn page(table: &Guarantees) -> String {
    let mut page = HEAD.to_owned();
    for family in Family::ALL {
        let _ = write!(page, "\n## {}\n", heading(family));
        for row in table.rows().iter().filter(|row| row.id.family == family) {
            write_row(&mut page, row);
        }
    }
    write_words(&mut page);
    page
}

const fn heading(family: Family) -> &'static str {
    match family {
        Family::Appending => "Faults while records are appended and kept",
        Family::Producer => "What a producer finds of its own settings",
        Family::Transaction => "Transactions",
        Family::Consumer => "Consumers",
    }
}

fn write_row(page: &mut String, row: &Row) {
    let _ = write!(page, "\n### {}. {}\n\n{}\n", row.id, capitalised(&row.title), row.event);
    let _ = write!(page, "\n{}", setting(row));
    let _ = match &row.costs {
        Costs::Append(cells) => write_cells(page, cells),
        Costs::Transaction(cells) => {
            let _ = writeln!(
                page,
                "\n\n| durability | it ends | shown to readers of committed records | last stable offset | the client meets |\n|--|--|--|--|--|"
            );
            for cell in cells {
                let (outcome, shown, offset) = (cell.outcome, cell.shown, cell.stable_offset);
                let modes = some_of(&cell.mode, Mode::ALL, Mode::word);
                let _ = writeln!(page, "| {modes} | {outcome} | {shown} | {offset} | {} |", met(&cell.signs));
            }
            Ok(())
        }
        Costs::Consumer(cell) => writeln!(
            page,
            "\n\n| records are processed | the commit | the client meets |\n|--|--|--|\n| {} | {} | {} |",
            cell.processed,
            cell.commit,
            met(&cell.signs)
        ),
    };
    let _ = write!(page, "\nKafka: {}\n", row.kafka);
    if let Some(ours) = &row.ours {
        let options: Vec<_> = row.options.iter().map(|option| format!("`{option}`")).collect();
        let options = if options.is_empty() { String::new() } else { format!(" ({})", options.join(", ")) };
        let _ = write!(page, "\n**Highwater**{options}: {ours}\n");
    }
}

/// The setting in which the row holds, and from when on.
fn setting(row: &Row) -> String {
    let replicas = match row.replicas {
        1 => "Any number of replicas".to_owned(),
        count => format!("{count} replicas, `min.insync.replicas={}`", row.min_isr),
    };
    let from = match row.served_from {
        6 => "; comes with replicas",
        7 => "; comes with transactions",
        _ => "",
    };
    let clock = if row.needs_clock_jump { "; the clock is moved" } else { "" };
    format!("*{replicas}{clock}{from}.*")
}

fn write_cells(page: &mut String, cells: &[Cell]) -> std::fmt::Result {
    writeln!(
        page,
        "\n\n| acks | idempotent | retries | durability | the producer is told | lost | twice | readers see it | the client meets |\n|--|--|--|--|--|--|--|--|--|"
    )?;
    for cell in cells {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let both = [false, true];
        let told: Vec<_> = cell.told.iter().map(|told| told.word()).collect();
        let fate = cell.unacknowledged.map_or(String::new(), |fate| format!(" ({fate})"));
        let order = if cell.order == Order::Changed { "; the order is changed" } else { "" };
        writeln!(
            page,
            "| {} | {} | {} | {} | {}{fate} | {}{order} | {} | {} | {} |",
            some_of(&cell.ways.acks, &[], Acks::word),
            some_of(&cell.ways.idempotence, &both, yes),
            some_of(&cell.ways.retries, &both, yes),
            some_of(&cell.ways.mode, Mode::ALL, Mode::word),
            told.join(" or "),
            cell.lost,
            cell.duplicated,
            cell.visible,
            met(&cell.signs),
        )?;
    }
    Ok(())
}

/// The values; "any" where they are all there are.
fn some_of<T: Copy + PartialEq>(some: &[T], all: &[T], word: impl Fn(T) -> &'static str) -> String {
    if some == all {
        return "any".to_owned();
    }
    some.iter().map(|value| word(*value)).collect::<Vec<_>>().join(", ")
}

fn met(signs: &Signs) -> String {
    let joined = |signs: &[Sign]| signs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (joined(&signs.surely), joined(&signs.perhaps)) {
        (surely, perhaps) if perhaps.is_empty() => surely,
        (surely, perhaps) if surely.is_empty() => format!("perhaps: {perhaps}"),
        (surely, perhaps) => format!("{surely}; perhaps: {perhaps}"),
    }
}

fn write_words(page: &mut String) {
    macro_rules! words {
        ($($heading:literal $name:ident;)+) => {
            $(
                let _ = write!(page, "\n{}\n\n", $heading);
                for word in $name::ALL {
                    let _ = writeln!(page, "- *{word}*: {}", word.meaning());
                }
            )+
        };
    }
    let _ = write!(page, "\n## The words\n");
    words! {
        "What the producer is told of the batch that the fault met:" Told;
        "And, in parentheses, whether a batch that failed is in the log:" Unacknowledged;
        "What counts as delivered and is gone, or cannot be read. \"Perhaps\" allows any part of it, none too; otherwise it is all of it, and nothing else:" Lost;
        "What is there more often than it was sent:" Duplicated;
        "When readers see the batch:" Visible;
        "How a transaction ends:" Outcome;
        "How readers of committed records come to see it:" Shown;
        "What the last stable offset does:" StableOffset;
        "How often a group processes the records:" Processed;
        "What becomes of the commit:" Commit;
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
