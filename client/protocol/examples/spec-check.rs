//! Compares the messages declared here with Kafka's own specifications.
//!
//! `cargo run -p highwater-protocol --example spec-check -- DIR`, where DIR holds the message specifications
//! (`common/message/*.json` in the kafka-clients jar). Prints each difference; exits with 1 if there is any.
//!
//! Compared for every request and response: key, versions, flexible versions, and of every field, in order, its name,
//! type, versions, nullable versions, tag, default and whether it is ignorable. Versions Kafka marks unstable are left
//! out, as are versions of a field outside those of its message.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use highwater_protocol::messages::APIS;
use highwater_protocol::schema::{DefaultValue, FieldSchema, FieldType, StructSchema};
use highwater_protocol::{Api, VersionRange};
use serde_json::Value;

fn main() -> Result<ExitCode> {
    let Some(directory) = std::env::args_os().nth(1) else { bail!("usage: spec-check DIR") };
    let mut differences = Vec::new();
    for api in APIS {
        check_api(api, Path::new(&directory), &mut differences)?;
    }
    for difference in &differences {
        println!("{difference}");
    }
    println!("{} messages compared, {} differences", APIS.len() * 2, differences.len());
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_api(api: &Api, directory: &Path, differences: &mut Vec<String>) -> Result<()> {
    let request = read(directory, api.request.name)?;
    let response = read(directory, api.response.name)?;
    let unstable = request["latestVersionUnstable"] == true;
    for (schema, spec) in [(api.request, &request), (api.response, &response)] {
        let mut check = Check { message: spec, versions: api.versions, differences };
        check.same(schema.name, "apiKey", api.key.number().to_string(), spec["apiKey"].to_string());
        let mut valid = versions(&spec["validVersions"])?.context("a message has versions")?;
        valid.last -= i16::from(unstable);
        check.same(schema.name, "validVersions", api.versions.to_string(), valid.to_string());
        let flexible = versions(&spec["flexibleVersions"])?.map(|range| range.first);
        check.same(schema.name, "flexibleVersions", api.first_flexible, flexible);
        check.structure(schema.name, schema, &spec["fields"])?;
    }
    Ok(())
}

fn read(directory: &Path, message: &str) -> Result<Value> {
    let path = directory.join(format!("{message}.json"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let without_comments: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    serde_json::from_str(&without_comments).with_context(|| format!("parsing {}", path.display()))
}

/// One message being compared.
struct Check<'a> {
    message: &'a Value,
    versions: VersionRange,
    differences: &'a mut Vec<String>,
}

impl Check<'_> {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, place: &str, what: &str, ours: T, theirs: T) {
        if ours != theirs {
            self.differences.push(format!("{place}: {what} is {theirs:?}, declared as {ours:?}"));
        }
    }

    fn structure(&mut self, place: &str, ours: &StructSchema, theirs: &Value) -> Result<()> {
        let theirs = theirs.as_array().with_context(|| format!("{place} has fields"))?;
        let mut carried = Vec::new();
        for field in theirs {
            if self.carried(&field["versions"])?.is_some() {
                carried.push(field);
            }
        }
        let names = carried.iter().map(|field| snake_case(&field["name"])).collect::<Result<Vec<_>>>()?;
        let ours_names: Vec<_> = ours.fields.iter().map(|field| field.name.to_owned()).collect();
        if names != ours_names {
            self.same(place, "the list of fields", ours_names, names);
            return Ok(());
        }
        for (ours, theirs) in ours.fields.iter().zip(carried) {
            self.field(&format!("{place}.{}", ours.name), ours, theirs)?;
        }
        Ok(())
    }

    fn field(&mut self, place: &str, ours: &FieldSchema, theirs: &Value) -> Result<()> {
        let carried = self.carried(&theirs["versions"])?;
        self.same(place, "versions", self.clip(Some(ours.versions)), carried);
        let nullable = self.carried(&theirs["nullableVersions"])?;
        let nullable = nullable.zip(carried).and_then(|(nullable, carried)| intersection(nullable, carried));
        self.same(place, "nullableVersions", self.clip(ours.nullable), nullable);
        self.same(place, "tag", ours.tag.map(u64::from), theirs["tag"].as_u64());
        let tagged = self.carried(&theirs["taggedVersions"])?;
        self.same(place, "taggedVersions", ours.tag.and(carried), tagged);
        let ignorable = theirs["ignorable"].as_bool().unwrap_or(false);
        self.same(place, "ignorable", ours.ignorable, ignorable);
        self.same(place, "flexibleVersions of the field alone", None, versions(&theirs["flexibleVersions"])?);
        self.same(place, "default", default_of(ours.default), their_default(&theirs["default"]));
        let their_type = theirs["type"].as_str().with_context(|| format!("{place} has a type"))?;
        self.same(place, "type", type_name(ours.field_type), their_type.to_owned());
        match ours.field_type.structure() {
            Some(inner) => self.structure(place, inner, &self.fields_of(theirs, inner.name)),
            None => Ok(()),
        }
    }

    /// The fields of a structure, given where it is used or once for the whole message.
    fn fields_of(&self, field: &Value, name: &str) -> Value {
        if field["fields"].is_array() {
            return field["fields"].clone();
        }
        let common = self.message["commonStructs"].as_array();
        let named = common.and_then(|all| all.iter().find(|structure| structure["name"] == name));
        named.map(|structure| structure["fields"].clone()).unwrap_or_default()
    }

    fn carried(&self, theirs: &Value) -> Result<Option<VersionRange>> {
        Ok(self.clip(versions(theirs)?))
    }

    /// The part of a range within the message's versions.
    fn clip(&self, range: Option<VersionRange>) -> Option<VersionRange> {
        range.and_then(|range| intersection(range, self.versions))
    }
}

fn intersection(one: VersionRange, other: VersionRange) -> Option<VersionRange> {
    let (first, last) = (one.first.max(other.first), one.last.min(other.last));
    (first <= last).then(|| VersionRange::new(first, last))
}

/// `3`, `3-5`, `3+`, or `none` (as is nothing at all).
fn versions(value: &Value) -> Result<Option<VersionRange>> {
    let Some(text) = value.as_str().filter(|text| *text != "none") else { return Ok(None) };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (first.parse()?, last.parse()?),
        None if text.ends_with('+') => (text.trim_end_matches('+').parse()?, i16::MAX),
        None => (text.parse()?, text.parse()?),
    };
    Ok(Some(VersionRange::new(first, last)))
}

fn snake_case(name: &Value) -> Result<String> {
    let name = name.as_str().context("a field has a name")?;
    let mut snake = String::new();
    for (index, character) in name.char_indices() {
        if character.is_ascii_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    Ok(snake)
}

fn default_of(default: DefaultValue) -> i64 {
    match default {
        DefaultValue::Zero => 0,
        DefaultValue::Integer(number) => number,
        DefaultValue::Bool(value) => i64::from(value),
    }
}

/// Null and empty count as zero: which of them it is, follows from whether the field can be null.
fn their_default(default: &Value) -> i64 {
    let text = match default {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).unwrap_or(i64::MIN),
        None if text.is_empty() || text == "null" || text == "false" => 0,
        None if text == "true" => 1,
        // Nothing declares this number: what cannot be parsed differs.
        None => text.parse().unwrap_or(i64::MIN),
    }
}

fn type_name(field_type: FieldType) -> String {
    match field_type {
        FieldType::Bool => "bool".to_owned(),
        FieldType::Int8 => "int8".to_owned(),
        FieldType::Int16 => "int16".to_owned(),
        FieldType::Uint16 => "uint16".to_owned(),
        FieldType::Int32 => "int32".to_owned(),
        FieldType::Int64 => "int64".to_owned(),
        FieldType::Float64 => "float64".to_owned(),
        FieldType::String => "string".to_owned(),
        FieldType::Bytes => "bytes".to_owned(),
        FieldType::Records => "records".to_owned(),
        FieldType::Uuid => "uuid".to_owned(),
        FieldType::Struct(schema) => schema.name.to_owned(),
        FieldType::Array(element) => format!("[]{}", type_name(*element)),
    }
}
