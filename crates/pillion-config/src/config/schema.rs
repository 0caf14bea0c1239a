//! Generates the JSON schema of the configuration and its reference page. `cargo xtask codegen` writes both.

use std::{
    env, fs, mem,
    path::{Path, PathBuf},
};

use schemars::{
    JsonSchema,
    r#gen::{SchemaGenerator, SchemaSettings},
    schema::{InstanceType, NumberValidation, Schema, SchemaObject, StringValidation, SubschemaValidation},
};
use serde_json::{Value, json};

use pillion::{Liveness, Restart, RestartLimit, Spec};

use super::{
    Config, ControlConfig, PortConfig, TerminalConfig,
    liveness::{LivenessConfig, LivenessProbe},
    log::{LogConfig, LogLimits},
    memory_size::MemorySize,
    ready::{ReadyConfig, ReadyFields},
};

impl JsonSchema for LivenessConfig {
    fn schema_name() -> String {
        "LivenessConfig".to_owned()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // The schema of `Option<LivenessProbe>` with `false` instead of `null`.
        let off = SchemaObject { enum_values: Some(vec![Value::Bool(false)]), ..Default::default() };
        let probe = generator.subschema_for::<LivenessProbe>();
        one_of([off.into(), probe])
    }
}

impl JsonSchema for LogConfig {
    fn schema_name() -> String {
        "LogConfig".to_owned()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        one_of([generator.subschema_for::<bool>(), generator.subschema_for::<LogLimits>()])
    }
}

impl JsonSchema for ControlConfig {
    fn schema_name() -> String {
        "ControlConfig".to_owned()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let off = SchemaObject { enum_values: Some(vec![Value::Bool(false)]), ..Default::default() };
        one_of([words(["read", "full"]), off.into()])
    }
}

impl JsonSchema for TerminalConfig {
    fn schema_name() -> String {
        "TerminalConfig".to_owned()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        one_of([words(["auto"]), generator.subschema_for::<bool>()])
    }
}

impl JsonSchema for PortConfig {
    fn schema_name() -> String {
        "PortConfig".to_owned()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let range =
            NumberValidation { minimum: Some(1.0), maximum: Some(65535.0), ..NumberValidation::default() };
        let number = SchemaObject {
            instance_type: Some(InstanceType::Integer.into()),
            number: Some(Box::new(range)),
            ..SchemaObject::default()
        };
        one_of([words(["announced", "assigned"]), number.into()])
    }
}

impl JsonSchema for ReadyConfig {
    fn schema_name() -> String {
        "ReadyConfig".to_owned()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        one_of([words(["health", "tcp", "notify", "started"]), generator.subschema_for::<ReadyFields>()])
    }
}

impl JsonSchema for MemorySize {
    fn schema_name() -> String {
        "MemorySize".to_owned()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^[0-9]+(\.[0-9]{1,9})? *(B|kB|MB|GB|KiB|MiB|GiB)$".to_owned();
        SchemaObject {
            instance_type: Some(InstanceType::String.into()),
            string: Some(Box::new(StringValidation {
                pattern: Some(pattern),
                ..StringValidation::default()
            })),
            ..SchemaObject::default()
        }
        .into()
    }
}

fn words<const N: usize>(words: [&str; N]) -> Schema {
    SchemaObject { enum_values: Some(words.map(Value::from).into()), ..SchemaObject::default() }.into()
}

fn one_of(schemas: impl Into<Vec<Schema>>) -> Schema {
    let subschemas = SubschemaValidation { any_of: Some(schemas.into()), ..SubschemaValidation::default() };
    SchemaObject { subschemas: Some(Box::new(subschemas)), ..SchemaObject::default() }.into()
}

/// The schema of the whole tauri.conf.json, so that an editor completes Tauri's own fields as well.
fn schema() -> String {
    let settings = SchemaSettings::draft07().with(|settings| settings.meta_schema = None);
    let mut section = settings.into_generator().into_root_schema_for::<Config>();
    let definitions = mem::take(&mut section.definitions);
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Generated from crates/pillion-config by `cargo xtask codegen`.",
        "title": "tauri.conf.json with the section plugins.pillion",
        "allOf": [{ "$ref": "https://schema.tauri.app/config/2" }],
        "properties": { "plugins": { "properties": { "pillion": section.schema } } },
        "definitions": definitions,
    });
    serde_json::to_string_pretty(&with_plain_descriptions(schema)).unwrap() + "\n"
}

/// Converts the descriptions from rustdoc to plain text, which editors show: without examples and links.
fn with_plain_descriptions(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(text) if name == "description" => (name, plain(&text).into()),
                value => (name, with_plain_descriptions(value)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(with_plain_descriptions).collect(),
        value => value,
    }
}

fn plain(rustdoc: &str) -> String {
    let text = rustdoc.split("\n\n```").next().unwrap_or_default();
    let mut parts = text.split("`]");
    let mut plain = parts.next().unwrap_or_default().replace("[`", "`");
    for part in parts {
        // ``[`Item`](path)`` becomes `Item`.
        let rest = part.strip_prefix('(').and_then(|target| target.split_once(')'));
        plain.push('`');
        plain.push_str(&rest.map_or(part, |(_, rest)| rest).replace("[`", "`"));
    }
    // `[text](crate::Item)` becomes `text`.
    while let Some(target) = plain.find("](crate::") {
        let (Some(start), Some(length)) = (plain[..target].rfind('['), plain[target..].find(')')) else {
            break;
        };
        plain.replace_range(target..=target + length, "");
        plain.remove(start);
    }
    // schemars joins the lines of a list.
    let plain = plain.replace(". - ", ".\n- ").replace("; - ", ";\n- ");
    // The values of the constants that the descriptions name.
    let constants = [
        ("`pillion::Spec::DEFAULT_GRACE`", Spec::DEFAULT_GRACE),
        ("`pillion::Spec::DEFAULT_READY_TIMEOUT`", Spec::DEFAULT_READY_TIMEOUT),
    ];
    constants.iter().fold(plain, |text, (name, value)| text.replace(name, &value.as_millis().to_string()))
}

#[test]
fn generated_schema_is_up_to_date() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tauri-plugin-pillion/schemas/tauri.conf.schema.json");
    if env::var_os("PILLION_CODEGEN").is_some() {
        fs::write(file, schema()).unwrap();
    }
    let written = fs::read_to_string(file).unwrap();
    assert_eq!(written, schema(), "the schema is out of date: run `cargo xtask codegen`");
}

/// docs/configuration.md: one table for each object of the configuration.
fn reference(schema: &Value) -> String {
    let mut page = "# The configuration\n\nThe section `plugins.pillion` of `tauri.conf.json`. `cargo xtask codegen` \
                    generates this page from the Rust types, and\n\
                    [a JSON schema](../crates/tauri-plugin-pillion/schemas/tauri.conf.schema.json), which the npm \
                    package contains.\n\
                    [The states](states.md#declare-restarts-liveness-and-dependencies) and\n\
                    [guarantees](guarantees.md#what-a-sidecar-is-given) have examples.\n"
        .to_owned();
    let sidecar = &schema["definitions"]["SidecarConfig"];
    // The section, the sidecar, and each field of a sidecar that is an object.
    let fields = sidecar["properties"].as_object().into_iter().flatten();
    let objects =
        fields.filter_map(|(field, property)| Some((format!("`{field}`"), object_of(schema, property)?)));
    let section = &schema["properties"]["plugins"]["properties"]["pillion"];
    let first = [("The section".to_owned(), section), ("A sidecar".to_owned(), sidecar)];
    for (title, object) in first.into_iter().chain(objects) {
        let description = object["description"].as_str().unwrap_or_default();
        page +=
            &format!("\n## {title}\n\n{description}\n\n| field | value | meaning |\n| --- | --- | --- |\n");
        for (field, property) in object["properties"].as_object().into_iter().flatten() {
            let meaning = property["description"].as_str().unwrap_or_default();
            let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
            page += &format!("| `{field}` | {} | {meaning} |\n", value_type(schema, property));
        }
    }
    page
}

/// The definition that a property refers to, if it has fields.
fn object_of<'a>(schema: &'a Value, property: &Value) -> Option<&'a Value> {
    let choices = ["allOf", "anyOf"].iter().filter_map(|key| property[*key].as_array()).flatten();
    choices.chain([property]).find_map(|choice| {
        let name = choice["$ref"].as_str()?.strip_prefix("#/definitions/")?;
        let definition = &schema["definitions"][name];
        if definition["properties"].is_object() { Some(definition) } else { object_of(schema, definition) }
    })
}

/// The type of a value: a JSON type, or the possible strings.
fn value_type(schema: &Value, property: &Value) -> String {
    let is_null = |property: &Value| property["type"] == "null";
    let either = ["allOf", "anyOf", "oneOf"].iter().find_map(|key| property[*key].as_array());
    if let Some(choices) = either {
        let choices = choices.iter().filter(|choice| !is_null(choice));
        return choices.map(|choice| value_type(schema, choice)).collect::<Vec<_>>().join(" or ");
    }
    if let Some(name) = property["$ref"].as_str().and_then(|path| path.strip_prefix("#/definitions/")) {
        return value_type(schema, &schema["definitions"][name]);
    }
    if let Some(values) = property["enum"].as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ");
    }
    let types = property["type"].as_array().cloned().unwrap_or_else(|| vec![property["type"].clone()]);
    let mut types = types.iter().filter_map(Value::as_str).filter(|name| *name != "null");
    types.next().unwrap_or("any").to_owned()
}

#[test]
fn generated_reference_is_up_to_date() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = reference(&serde_json::from_str(&schema()).unwrap());
    if env::var_os("PILLION_CODEGEN").is_some() {
        fs::write(file, &page).unwrap();
    }
    let written = fs::read_to_string(file).unwrap();
    assert_eq!(written, page, "docs/configuration.md is out of date: run `cargo xtask codegen`");
}

#[test]
fn the_example_in_the_states_page_shows_the_defaults() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/states.md")).unwrap();
    let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut example: Value = serde_json::from_str(example).unwrap();
    let config: Config = serde_json::from_value(example["plugins"]["pillion"].take()).unwrap();
    let backend = &config.sidecars["backend"];
    assert_eq!(backend.restart, Some(Restart::default()));
    assert_eq!(RestartLimit::from(backend.restart_limit), RestartLimit::default());
    assert_eq!(Option::from(backend.liveness), Some(Liveness::default()));
    assert!(!backend.handover && !backend.optional);
}

#[test]
fn examples_in_the_docs_are_valid() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let pages = pages_of(root);
    let mut examples = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for block in json_blocks(&text) {
            let at = format!("{}: {block}", page.display());
            let example: Value = serde_json::from_str(&block).unwrap_or_else(|error| panic!("{at}: {error}"));
            if let Some(section) = example["plugins"].get("pillion") {
                let config = serde_json::from_value::<Config>(section.clone());
                assert!(config.is_ok(), "{at}: {config:?}");
                examples += 1;
            }
        }
    }
    assert!(examples > 20, "the docs have only {examples} examples");
}

/// The pages about Pillion: README.md, docs, and those of the packages.
fn pages_of(root: &Path) -> Vec<PathBuf> {
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs", "crates", "examples", "sdk"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let page = if path.is_dir() { path.join("README.md") } else { path };
            if page.extension().is_some_and(|it| it == "md") && page.exists() {
                pages.push(page);
            }
        }
    }
    pages
}

/// The blocks of JSON in a page, without their comments.
fn json_blocks(page: &str) -> Vec<String> {
    let blocks = page.split("\n```json").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once('\n')?.1.split("\n```").next());
    blocks
        .map(|block| {
            let mut parts = block.split(" /* ");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| text + part.split_once(" */").map_or("", |(_, after)| after))
        })
        .collect()
}
