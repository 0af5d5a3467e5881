//! Compares the messages declared here with Kafka's own specifications.
//!
//! `cargo run -p highwater-protocol --example spec-check -- DIR...`, where the folders hold the message specifications
//! (`common/message/*.json` in the kafka-clients and kafka-group-coordinator jars). Prints each difference; exits with 1
//! if there is any.
//!
//! Compared for every request and response, the keys and values of the groups' records, and what consumers tell each
//! other: key or type, versions, flexible versions, and of every field, in order, its name, type, versions, nullable
//! versions, tag, default and whether it is ignorable. Versions Kafka marks unstable are left out, as are versions of a
//! field outside those of what it is in. The names of inner structures are ours to choose.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use highwater_protocol::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use highwater_protocol::messages::APIS;
use highwater_protocol::schema::{DefaultValue, FieldSchema, FieldType, StructSchema};
use highwater_protocol::{Message, VersionRange};
use serde_json::Value;

fn main() -> Result<ExitCode> {
    let folders: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        bail!("usage: spec-check DIR...");
    }
    let all = declared();
    let mut differences = Vec::new();
    for declared in &all {
        check(declared, &folders, &mut differences)?;
    }
    for difference in &differences {
        println!("{difference}");
    }
    println!("{} messages compared, {} differences", all.len(), differences.len());
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A message that is declared here.
struct Declared {
    schema: &'static StructSchema,
    versions: VersionRange,
    first_flexible: Option<i16>,
    /// The API's key or the record's type, if it has one.
    number: Option<i64>,
    /// The message that says whether the last version is unstable: of an API the request.
    stability: &'static str,
}

impl Declared {
    fn of<M: Message>(number: Option<i64>) -> Self {
        let (schema, versions, first_flexible) = (M::SCHEMA, M::VERSIONS, M::FIRST_FLEXIBLE);
        Declared { schema, versions, first_flexible, number, stability: M::NAME }
    }
}

fn declared() -> Vec<Declared> {
    let mut declared = Vec::new();
    for api in APIS {
        for schema in [api.request, api.response] {
            let number = Some(i64::from(api.key.number()));
            let (versions, first_flexible) = (api.versions, api.first_flexible);
            declared.push(Declared { schema, versions, first_flexible, number, stability: api.request.name });
        }
    }
    macro_rules! records {
        ($($number:literal $name:ident $key:ident $value:ident;)*) => {$(
            declared.push(Declared::of::<highwater_protocol::coordinator::$key>(Some($number)));
            declared.push(Declared::of::<highwater_protocol::coordinator::$value>(Some($number)));
        )*};
    }
    highwater_protocol::for_each_group_record!(records);
    declared.push(Declared::of::<ConsumerProtocolSubscription>(None));
    declared.push(Declared::of::<ConsumerProtocolAssignment>(None));
    declared
}

fn check(declared: &Declared, folders: &[PathBuf], differences: &mut Vec<String>) -> Result<()> {
    let name = declared.schema.name;
    let spec = read(folders, name)?;
    let mut check = Check { message: &spec, differences };
    check.same(name, "apiKey", declared.number, spec["apiKey"].as_i64());
    let mut valid = versions(&spec["validVersions"])?.context("a message has versions")?;
    valid.last -= i16::from(read(folders, declared.stability)?["latestVersionUnstable"] == true);
    check.same(name, "validVersions", declared.versions.to_string(), valid.to_string());
    let flexible = versions(&spec["flexibleVersions"])?.map(|range| range.first);
    check.same(name, "flexibleVersions", declared.first_flexible, flexible);
    check.structure(name, declared.schema, &spec["fields"], declared.versions)
}

fn read(folders: &[PathBuf], message: &str) -> Result<Value> {
    let path = folders.iter().map(|folder| folder.join(format!("{message}.json"))).find(|path| path.exists());
    let path: &Path = &path.with_context(|| format!("{message}.json is in none of the folders"))?;
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let without_comments: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    serde_json::from_str(&without_comments).with_context(|| format!("parsing {}", path.display()))
}

/// One message being compared.
struct Check<'a> {
    message: &'a Value,
    differences: &'a mut Vec<String>,
}

impl Check<'_> {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, place: &str, what: &str, ours: T, theirs: T) {
        if ours != theirs {
            self.differences.push(format!("{place}: {what} is {theirs:?}, declared as {ours:?}"));
        }
    }

    /// `within` are the versions that carry the structure.
    fn structure(
        &mut self,
        place: &str,
        ours: &StructSchema,
        theirs: &Value,
        within: VersionRange,
    ) -> Result<()> {
        let theirs = theirs.as_array().with_context(|| format!("{place} has fields"))?;
        let mut carried = Vec::new();
        for field in theirs {
            if carried_by(&field["versions"], within)?.is_some() {
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
            self.field(&format!("{place}.{}", ours.name), ours, theirs, within)?;
        }
        Ok(())
    }

    fn field(&mut self, place: &str, ours: &FieldSchema, theirs: &Value, within: VersionRange) -> Result<()> {
        let carried = carried_by(&theirs["versions"], within)?;
        self.same(place, "versions", intersection(ours.versions, within), carried);
        let nullable = carried_by(&theirs["nullableVersions"], within)?;
        let nullable = nullable.zip(carried).and_then(|(nullable, carried)| intersection(nullable, carried));
        let ours_nullable = ours.nullable.and_then(|nullable| intersection(nullable, within));
        self.same(place, "nullableVersions", ours_nullable, nullable);
        self.same(place, "tag", ours.tag.map(u64::from), theirs["tag"].as_u64());
        let tagged = carried_by(&theirs["taggedVersions"], within)?;
        self.same(place, "taggedVersions", ours.tag.and(carried), tagged);
        let ignorable = theirs["ignorable"].as_bool().unwrap_or(false);
        self.same(place, "ignorable", ours.ignorable, ignorable);
        self.same(place, "flexibleVersions of the field alone", None, versions(&theirs["flexibleVersions"])?);
        self.same(place, "default", default_of(ours.default), their_default(&theirs["default"]));
        // Absent means what the default is, and only the word makes that null.
        let absent_is_empty = ours.tag.is_some() && nullable.is_some() && theirs["default"] != "null";
        self.same(place, "empty if absent", ours.default == DefaultValue::Empty, absent_is_empty);
        let their_type = theirs["type"].as_str().with_context(|| format!("{place} has a type"))?;
        let their_fields = self.fields_of(theirs, their_type.trim_start_matches("[]"));
        let their_type = match &their_fields {
            Value::Null => their_type.to_owned(),
            _ if their_type.starts_with("[]") => "[]structure".to_owned(),
            _ => "structure".to_owned(),
        };
        self.same(place, "type", type_name(ours.field_type), their_type);
        match (ours.field_type.structure(), carried) {
            (Some(inner), Some(carried)) => self.structure(place, inner, &their_fields, carried),
            _ => Ok(()),
        }
    }

    /// The fields of a structure, given where it is used or once for the whole message; null for any other type.
    fn fields_of(&self, field: &Value, name: &str) -> Value {
        if field["fields"].is_array() {
            return field["fields"].clone();
        }
        let common = self.message["commonStructs"].as_array();
        let named = common.and_then(|all| all.iter().find(|structure| structure["name"] == name));
        named.map(|structure| structure["fields"].clone()).unwrap_or_default()
    }
}

/// The versions that carry something, of those that carry what it is in.
fn carried_by(theirs: &Value, within: VersionRange) -> Result<Option<VersionRange>> {
    Ok(versions(theirs)?.and_then(|range| intersection(range, within)))
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
        DefaultValue::Zero | DefaultValue::Empty => 0,
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
        FieldType::Struct(_) => "structure".to_owned(),
        FieldType::Array(element) => format!("[]{}", type_name(*element)),
    }
}
