//! Edits of JSON and JSON5 that keep comments, order and indentation.

use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode};
use serde_json::Value;

use crate::project::{Format, kebab_case};

/// Edits the object at the root of a JSON text.
///
/// # Errors
///
/// Fails if the text is not a JSON object, or with the error of `edit`.
pub(super) fn edit(
    text: &str,
    edit: impl FnOnce(&CstObject) -> Result<(), String>,
) -> Result<String, String> {
    edit_value(text, |value| edit(&value.as_object().ok_or("the file must contain a JSON object")?))
}

/// As [`edit`], for a text with any value.
///
/// # Errors
///
/// Fails if the text is not JSON or empty, or with the error of `edit`.
pub(super) fn edit_value(
    text: &str,
    edit: impl FnOnce(CstNode) -> Result<(), String>,
) -> Result<String, String> {
    let root = CstRootNode::parse(text, &Format::json_options())
        .map_err(|error| format!("not valid JSON: {error}"))?;
    edit(root.value().ok_or("the file is empty")?)?;
    Ok(root.to_string())
}

/// The object below these keys. Missing objects are added.
///
/// # Errors
///
/// Fails if a value on the way is not an object.
pub(super) fn object_at(root: &CstObject, keys: &[&str]) -> Result<CstObject, String> {
    let mut object = root.clone();
    for key in keys {
        object = object
            .object_value_or_create(&name_in(&object, key))
            .ok_or_else(|| format!("`{key}` is not an object"))?;
    }
    Ok(object)
}

/// The list of this name in an object. A missing list is added.
///
/// # Errors
///
/// Fails if the value is not a list.
pub(super) fn list_in(object: &CstObject, key: &str) -> Result<CstArray, String> {
    object.array_value_or_create(&name_in(object, key)).ok_or_else(|| format!("`{key}` is not a list"))
}

/// Adds strings to a list that lacks them.
pub(super) fn add_strings(list: &CstArray, strings: &[&str]) {
    let present: Vec<_> = list.elements().iter().filter_map(CstNode::to_serde_value).collect();
    for text in strings {
        if !present.iter().any(|value| value == text) {
            list.append(CstInputValue::from(*text));
        }
    }
}

/// Adds a property in the place that the order of names gives it, if the names are in order; otherwise at the end.
pub(super) fn insert_sorted(object: &CstObject, key: &str, value: CstInputValue) {
    let names: Vec<_> = object.properties().iter().filter_map(CstObjectProp::decoded_name).collect();
    let index =
        if names.is_sorted() { names.partition_point(|name| name.as_str() < key) } else { names.len() };
    object.insert(index, key, value);
}

/// The name that an object uses for a key of the Tauri configuration: camel case, or kebab case if it has that already.
pub(super) fn name_in(object: &CstObject, key: &str) -> String {
    let kebab = kebab_case(key);
    if object.get(key).is_none() && object.get(&kebab).is_some() { kebab } else { key.to_owned() }
}

/// A value for an edit.
pub(super) fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(elements) => CstInputValue::Array(elements.iter().map(input).collect()),
        Value::Object(fields) => {
            CstInputValue::Object(fields.iter().map(|(name, value)| (name.clone(), input(value))).collect())
        }
    }
}
