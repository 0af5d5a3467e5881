//! What became of several things that were asked for at once: what was done is printed, what was not makes it fail.

use std::io::{Write, stdout};

use anyhow::bail;
use serde_json::{Map, Value};

use crate::topic::counted;

/// Outcomes as they come.
#[derive(Debug)]
pub(crate) struct Outcomes {
    /// All of them as JSON objects, if that is how they are told.
    json: Option<Vec<Value>>,
    failures: Vec<anyhow::Error>,
}

impl Outcomes {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json: if json { Some(Vec::new()) } else { None }, failures: Vec::new() }
    }

    /// Something was done: `said` to people.
    pub(crate) fn done<const N: usize>(
        &mut self,
        what: [(&str, Value); N],
        said: &str,
    ) -> anyhow::Result<()> {
        match &mut self.json {
            Some(all) => all.push(object(what, Value::Null)),
            None => writeln!(stdout(), "{said}")?,
        }
        Ok(())
    }

    /// Something was not.
    pub(crate) fn failed<const N: usize>(&mut self, what: [(&str, Value); N], why: anyhow::Error) {
        if let Some(all) = &mut self.json {
            all.push(object(what, format!("{why:#}").into()));
        }
        self.failures.push(why);
    }

    /// Tells of failures: `2 topics could not be deleted`.
    pub(crate) fn finish(self, what: &str, done: &str) -> anyhow::Result<()> {
        if let Some(all) = self.json {
            writeln!(stdout(), "{}", serde_json::to_string_pretty(&all)?)?;
        }
        fail_with(self.failures, what, done)
    }
}

/// Tells what failed, if anything did: `2 topics could not be described`.
pub(crate) fn fail_with(mut failures: Vec<anyhow::Error>, what: &str, done: &str) -> anyhow::Result<()> {
    match failures.pop() {
        None => Ok(()),
        Some(only) if failures.is_empty() => Err(only),
        Some(last) => {
            failures.iter().chain([&last]).for_each(|failure| eprintln!("highwater: {failure:#}"));
            bail!("{} could not be {done}", counted(failures.len() + 1, what))
        }
    }
}

/// What it is about, and its error, null if there is none.
fn object<const N: usize>(what: [(&str, Value); N], error: Value) -> Value {
    let named = what.into_iter().chain([("error", error)]).map(|(name, value)| (name.to_owned(), value));
    Value::Object(Map::from_iter(named))
}
