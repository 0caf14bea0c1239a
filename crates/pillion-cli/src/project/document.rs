//! JSON, JSON5 and TOML files, as values with positions.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use jsonc_parser::{CollectOptions, ParseOptions, ast, parse_to_ast, parse_to_serde_value};
use serde_json::Value;
use toml_edit::Item;

use super::{Position, ProjectError};

/// How the text of a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON or JSON5. Tauri's command line reads JSON5 also from files with the ending `.json`.
    Json,
    Toml,
}

impl Format {
    /// By the file's ending: everything except `.toml` is JSON.
    pub(crate) fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "toml") { Self::Toml } else { Self::Json }
    }

    /// How this tool parses JSON: as JSON5, so that a missing comma is an error.
    pub(crate) fn json_options() -> ParseOptions {
        ParseOptions { allow_missing_commas: false, ..ParseOptions::default() }
    }
}

/// A file with the value that it contains.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    /// The text without a byte order mark.
    pub(crate) text: String,
    pub(crate) value: Value,
}

impl Document {
    /// Reads and parses the file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is not UTF-8, or cannot be parsed.
    pub(crate) fn read(path: &Path) -> Result<Self, ProjectError> {
        Self::parse(path, read_text(path)?)
    }

    /// As [`read`](Self::read); `None` if the file does not exist.
    pub(crate) fn read_if_exists(path: &Path) -> Result<Option<Self>, ProjectError> {
        if path.is_file() { Self::read(path).map(Some) } else { Ok(None) }
    }

    /// Parses the text of the file.
    ///
    /// # Errors
    ///
    /// Fails at the position that cannot be parsed.
    pub(crate) fn parse(path: &Path, text: String) -> Result<Self, ProjectError> {
        let text = text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text);
        let format = Format::of(path);
        let error =
            |start, message: String| ProjectError::new(path, message).at(Some(Position::of(&text, start)));
        let value = match format {
            Format::Json => parse_to_serde_value(&text, &Format::json_options())
                .map_err(|wrong| error(wrong.range().start, format!("not valid JSON: {}", wrong.kind())))?,
            Format::Toml => toml_edit::de::from_str(&text).map_err(|wrong| {
                let start = wrong.span().map_or(0, |span| span.start);
                error(start, format!("not valid TOML: {}", wrong.message()))
            })?,
        };
        Ok(Self { path: path.to_owned(), format, text, value })
    }

    /// The value below these keys; an index of an array is a key in digits. A key in camel case also finds its kebab case, which
    /// Tauri accepts as well (`external-bin`).
    pub(crate) fn get(&self, keys: &[&str]) -> Option<&Value> {
        get(&self.value, keys)
    }

    /// Where the value below these keys begins. If it does not exist, where the last existing value on the way begins.
    pub(crate) fn position(&self, keys: &[&str]) -> Option<Position> {
        let span = match self.format {
            Format::Json => {
                let parsed =
                    parse_to_ast(&self.text, &CollectOptions::default(), &Format::json_options()).ok()?;
                json_span(parsed.value.as_ref()?, keys)
            }
            Format::Toml => {
                let parsed = toml_edit::Document::parse(self.text.as_str()).ok()?;
                toml_span(parsed.as_item(), keys)?
            }
        };
        Some(Position::of(&self.text, span.start))
    }

    /// An error about the value below these keys.
    pub(crate) fn error(&self, keys: &[&str], message: impl Into<String>) -> ProjectError {
        ProjectError::new(&self.path, message).at(self.position(keys))
    }
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a text file.
///
/// # Errors
///
/// Fails if the file cannot be read or is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String, ProjectError> {
    let bytes = fs::read(path).map_err(|error| {
        let cure = match error.kind() {
            io::ErrorKind::PermissionDenied => "; allow your user to read it",
            _ => "",
        };
        ProjectError::new(path, format!("cannot read the file: {error}{cure}"))
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        ProjectError::new(path, "the file is not UTF-8: save it as UTF-8")
            .at(Some(Position::of(&valid, valid.len())))
    })
}

/// As [`Document::get`], in any value.
pub(crate) fn get<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().try_fold(value, |value, key| match value {
        Value::Object(fields) => fields.get(*key).or_else(|| fields.get(&kebab_case(key))),
        Value::Array(elements) => elements.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// `externalBin` as `external-bin`.
pub(crate) fn kebab_case(camel_case: &str) -> String {
    let mut kebab = String::new();
    for letter in camel_case.chars() {
        if letter.is_ascii_uppercase() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

fn json_span(value: &ast::Value<'_>, keys: &[&str]) -> Range<usize> {
    use jsonc_parser::common::Ranged as _;
    let next = keys.split_first().and_then(|(key, rest)| {
        let inner = match value {
            ast::Value::Object(object) => &object.get(key).or_else(|| object.get(&kebab_case(key)))?.value,
            ast::Value::Array(array) => array.elements.get(key.parse::<usize>().ok()?)?,
            _ => return None,
        };
        Some(json_span(inner, rest))
    });
    next.unwrap_or_else(|| value.start()..value.end())
}

fn toml_span(item: &Item, keys: &[&str]) -> Option<Range<usize>> {
    let next = keys.split_first().and_then(|(key, rest)| {
        let inner = match key.parse::<usize>() {
            Ok(index) => item.get(index).or_else(|| item.get(*key))?,
            Err(_) => item.get(*key).or_else(|| item.get(kebab_case(key).as_str()))?,
        };
        toml_span(inner, rest)
    });
    next.or_else(|| item.span())
}
