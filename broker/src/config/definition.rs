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
    /// 64 bits, at least so much.
    Long {
        /// The smallest value.
        min: i64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of these words, none twice; it may be empty.
    List(&'static [&'static str]),
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
            Kind::Choice(words) if words.contains(&trimmed) => Ok(()),
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
        let choice = of(Kind::Choice(&["a", "b"]));
        assert_eq!(choice.check("b"), Ok(()));
        assert!(refused(&choice, "c").ends_with("String must be one of: a, b"));
    }
}
