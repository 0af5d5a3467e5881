//! Offsets as lines of `TOPIC,PARTITION,OFFSET`, as Kafka's tool exports and takes them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail};
use highwater::client::TopicPartition;

use super::plan::Move;

pub(super) fn write(out: &mut impl Write, moves: &[Move]) -> io::Result<()> {
    // No name of a topic holds a comma or a quote.
    moves
        .iter()
        .try_for_each(|moved| writeln!(out, "{},{},{}", &*moved.at.topic, moved.at.partition, moved.to))
}

/// Reads a file; `-` is standard input.
pub(super) fn read(path: &Path) -> anyhow::Result<BTreeMap<TopicPartition, i64>> {
    let (name, text) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), io::read_to_string(io::stdin()))
    } else {
        (path.display().to_string(), fs::read_to_string(path))
    };
    text.map_err(anyhow::Error::from).and_then(|text| parse(&text)).context(name)
}

fn parse(text: &str) -> anyhow::Result<BTreeMap<TopicPartition, i64>> {
    let mut offsets = BTreeMap::new();
    for (place, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = place + 1;
        let (at, offset) = parse_line(line)
            .with_context(|| format!("line {place}: {line:?} is no TOPIC,PARTITION,OFFSET"))?;
        if offsets.insert(at, offset).is_some() {
            bail!("line {place}: this partition stands there twice");
        }
    }
    if offsets.is_empty() {
        bail!("it holds no offsets");
    }
    Ok(offsets)
}

fn parse_line(line: &str) -> Option<(TopicPartition, i64)> {
    let unquoted = |field: &str| field.trim().trim_matches('"').to_owned();
    let fields: Vec<_> = line.split(',').map(unquoted).collect();
    let [topic, partition, offset] = fields.try_into().ok()?;
    let partition = partition.parse().ok().filter(|number| *number >= 0)?;
    let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
    (!topic.is_empty()).then(|| (TopicPartition::new(topic, partition), offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let moves = [("a", 0, 7), ("b.c", 12, 0)].map(|(topic, partition, to)| Move {
            at: TopicPartition::new(topic, partition),
            from: None,
            to,
            is_clipped: false,
        });
        let mut text = Vec::new();
        write(&mut text, &moves).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, "a,0,7\nb.c,12,0\n");
        let expected = BTreeMap::from(moves.map(|moved| (moved.at, moved.to)));
        assert_eq!(parse(&text).unwrap(), expected);
        // As other programs write it.
        assert_eq!(parse("\"a\", 0, 7\r\n\n\"b.c\",12,0").unwrap(), expected);
    }

    #[test]
    fn what_is_no_offset_is_named() {
        for (text, said) in [
            ("", "it holds no offsets"),
            ("a,0,1\na,0", "line 2: \"a,0\" is no TOPIC,PARTITION,OFFSET"),
            ("a,-1,1", "line 1: \"a,-1,1\" is no TOPIC,PARTITION,OFFSET"),
            ("a,0,-1", "line 1: \"a,0,-1\" is no TOPIC,PARTITION,OFFSET"),
            (",0,1", "line 1: \",0,1\" is no TOPIC,PARTITION,OFFSET"),
            ("g,a,0,1", "line 1: \"g,a,0,1\" is no TOPIC,PARTITION,OFFSET"),
            ("a,0,1\na,0,2", "line 2: this partition stands there twice"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), said);
        }
    }
}
