//! What one setting is, and Kafka's words for a value it does not take (`ConfigDef`).

/// The type of a value and its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// 32 bits, at least so much.
    Int {
        /// The smallest value.
        min: i32,
    },
    /// 32 bits, between these two.
    IntBetween {
        /// The smallest value.
        min: i32,
        /// The largest value.
        max: i32,
    },
    /// 64 bits, at least so much.
    Long {
        /// The smallest value.
        min: i64,
    },
    /// A number from 0 to 1.
    Ratio,
    /// Any number.
    Number,
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, in capitals or not.
    AnyCase(&'static [&'static str]),
    /// A list of these words, none twice; it may be empty.
    List(&'static [&'static str]),
    /// A list of any words; it may be empty.
    Words,
}

impl Kind {
    /// Whether a value is several, with commas between them.
    pub(crate) fn is_list(self) -> bool {
        matches!(self, Self::List(_) | Self::Words)
    }
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// Kafka's name, or one that begins with `highwater.`.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// What holds when nobody sets it; empty for nothing.
    pub default: &'static str,
    /// The broker's setting that stands behind a topic's; none for a broker's own.
    pub broker_name: Option<&'static str>,
    /// One sentence on what it does.
    pub doc: &'static str,
}

impl Definition {
    /// Whether `value` is of this type and in range; else Kafka's words for what is wrong.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let refuse =
            |why: String| Err(format!("Invalid value {value} for configuration {}: {why}", self.name));
        let trimmed = value.trim();
        match self.kind {
            Kind::Boolean
                if trimmed.eq_ignore_ascii_case("true") || trimmed.eq_ignore_ascii_case("false") =>
            {
                Ok(())
            }
            Kind::Boolean => refuse("Expected value to be either true or false".into()),
            Kind::Int { min } => match trimmed.parse::<i32>() {
                Ok(number) if number >= min => Ok(()),
                Ok(_) => refuse(format!("Value must be at least {min}")),
                Err(_) => refuse("Not a number of type INT".into()),
            },
            Kind::Long { min } => match trimmed.parse::<i64>() {
                Ok(number) if number >= min => Ok(()),
                Ok(_) => refuse(format!("Value must be at least {min}")),
                Err(_) => refuse("Not a number of type LONG".into()),
            },
            Kind::IntBetween { min, max } => match trimmed.parse::<i32>() {
                Ok(number) if number < min => refuse(format!("Value must be at least {min}")),
                Ok(number) if number > max => refuse(format!("Value must be no more than {max}")),
                Ok(_) => Ok(()),
                Err(_) => refuse("Not a number of type INT".into()),
            },
            Kind::Ratio => match trimmed.parse::<f64>() {
                Ok(number) if (0.0..=1.0).contains(&number) => Ok(()),
                Ok(number) if number > 1.0 => refuse("Value must be no more than 1".into()),
                Ok(_) => refuse("Value must be at least 0".into()),
                Err(_) => refuse("Not a number of type DOUBLE".into()),
            },
            Kind::Number => match trimmed.parse::<f64>() {
                Ok(_) => Ok(()),
                Err(_) => refuse("Not a number of type DOUBLE".into()),
            },
            Kind::Text | Kind::Words => Ok(()),
            Kind::Choice(words) if words.contains(&trimmed) => Ok(()),
            Kind::AnyCase(words) if words.iter().any(|word| word.eq_ignore_ascii_case(trimmed)) => Ok(()),
            Kind::AnyCase(words) => {
                refuse(format!("String must be one of (case insensitive): {}", words.join(", ")))
            }
            Kind::List(_) if trimmed.is_empty() => Ok(()),
            Kind::List(words) => {
                let given: Vec<_> = trimmed.split(',').map(str::trim).collect();
                if (1..given.len()).any(|at| given[..at].contains(&given[at])) {
                    return Err(format!("Configuration '{}' values must not be duplicated.", self.name));
                }
                match given.iter().all(|word| words.contains(word)) {
                    true => Ok(()),
                    false => refuse(format!("String must be one of: {}", words.join(", "))),
                }
            }
            Kind::Choice(words) => refuse(format!("String must be one of: {}", words.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Kind) -> Definition {
        Definition { name: "x.y", kind, default: "", broker_name: None, doc: "" }
    }

    #[test]
    fn values_are_checked_by_type_and_range_with_kafkas_words() {
        let int = of(Kind::Int { min: 4 });
        assert_eq!(int.check(" 4 "), Ok(()));
        let refused = |d: &Definition, v: &str| d.check(v).unwrap_err();
        assert_eq!(refused(&int, "3"), "Invalid value 3 for configuration x.y: Value must be at least 4");
        assert_eq!(refused(&int, "x"), "Invalid value x for configuration x.y: Not a number of type INT");
        assert!(refused(&int, "3000000000").ends_with("Not a number of type INT"));
        assert!(refused(&of(Kind::Long { min: 0 }), "1.5").ends_with("Not a number of type LONG"));
        assert_eq!(of(Kind::Boolean).check("TRUE"), Ok(()));
        assert!(refused(&of(Kind::Boolean), "yes").ends_with("Expected value to be either true or false"));
        let level = of(Kind::IntBetween { min: 1, max: 9 });
        assert!(refused(&level, "0").ends_with("Value must be at least 1"));
        assert!(refused(&level, "10").ends_with("Value must be no more than 9"));
        assert_eq!([level.check("9"), of(Kind::Ratio).check("0.5")], [Ok(()), Ok(())]);
        assert_eq!([of(Kind::Number).check("-1.5"), of(Kind::Number).check("1e308")], [Ok(()), Ok(())]);
        assert!(refused(&of(Kind::Number), "some").ends_with("Not a number of type DOUBLE"));
        assert!(refused(&of(Kind::Ratio), "1.5").ends_with("Value must be no more than 1"));
        assert!(refused(&of(Kind::Ratio), "NaN").ends_with("Value must be at least 0"));
        let any_case = of(Kind::AnyCase(&["a", "b"]));
        assert_eq!(any_case.check("B"), Ok(()));
        assert!(refused(&any_case, "c").ends_with("String must be one of (case insensitive): a, b"));
        let choice = of(Kind::Choice(&["a", "b"]));
        assert_eq!(choice.check("b"), Ok(()));
        assert!(refused(&choice, "c").ends_with("String must be one of: a, b"));
    }
}
