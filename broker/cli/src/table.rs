//! Columns under each other.

use std::io::{self, Write};

/// Prints rows with their columns aligned as `sides` says, `<` to the left and `>` to the right, a character a column; the
/// last one holds for all that follow.
pub(crate) fn print<const COLUMNS: usize>(
    out: &mut impl Write,
    rows: &[[String; COLUMNS]],
    sides: &str,
) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            if sides.chars().nth(column).or(sides.chars().last()) == Some('<') {
                line.push_str(&format!("  {cell:<width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A count with its thousands apart: `1,234,567`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_left_and_figures_right() {
        let rows = [["", "p50", "max"], ["waited", "1.5", "10"], ["ß", "20.5", ""]];
        let mut out = Vec::new();
        print(&mut out, &rows.map(|row| row.map(str::to_owned)), "<>").unwrap();
        let expected = "           p50  max\n  waited   1.5   10\n  ß       20.5\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn thousands_are_apart() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (123_456, "123,456"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(count), text);
        }
    }
}
