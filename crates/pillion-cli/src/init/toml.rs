//! Edits of TOML that keep comments, order and layout.

use serde_json::Value;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike};

/// Edits a TOML text.
///
/// # Errors
///
/// Fails if the text is not TOML, or with the error of `edit`.
pub(super) fn edit(
    text: &str,
    edit: impl FnOnce(&mut dyn TableLike) -> Result<(), String>,
) -> Result<String, String> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| format!("not valid TOML: {}", error.message()))?;
    edit(document.as_table_mut())?;
    Ok(document.to_string())
}

/// The table below these keys. Missing tables are added; those on the way get no header of their own.
///
/// # Errors
///
/// Fails if a value on the way is not a table.
pub(super) fn table_at<'a>(
    root: &'a mut dyn TableLike,
    keys: &[&str],
) -> Result<&'a mut dyn TableLike, String> {
    let mut table = root;
    for (index, key) in keys.iter().enumerate() {
        let name = name_in(table, key);
        if !table.contains_key(&name) {
            let mut new = Table::new();
            new.set_implicit(index + 1 < keys.len());
            table.insert(&name, Item::Table(new));
        }
        table = table
            .get_mut(&name)
            .and_then(Item::as_table_like_mut)
            .ok_or_else(|| format!("`{key}` is not a table"))?;
    }
    Ok(table)
}

/// Adds strings to the list of this name, which is added if it is missing.
///
/// # Errors
///
/// Fails if the value is not a list.
pub(super) fn add_strings(table: &mut dyn TableLike, key: &str, strings: &[&str]) -> Result<(), String> {
    let name = name_in(table, key);
    if !table.contains_key(&name) {
        table.insert(&name, toml_edit::value(Array::new()));
    }
    let list =
        table.get_mut(&name).and_then(Item::as_array_mut).ok_or_else(|| format!("`{key}` is not a list"))?;
    for text in strings {
        if !list.iter().any(|element| element.as_str() == Some(text)) {
            push_like_last(list, text);
        }
    }
    Ok(())
}

/// Sets a string. A comment behind the old value stays.
pub(super) fn set_text(table: &mut dyn TableLike, key: &str, text: &str) {
    if let Some(Item::Value(value)) = table.get_mut(key) {
        let decor = value.decor().clone();
        *value = text.into();
        *value.decor_mut() = decor;
    } else {
        table.insert(key, toml_edit::value(text));
    }
}

/// Adds an element with the layout of the last one: a list with one element on each line stays so. A comment stays beside the
/// element that it is about.
fn push_like_last(list: &mut Array, text: &str) {
    let text_of =
        |raw: Option<&toml_edit::RawString>| raw.and_then(|raw| raw.as_str()).unwrap_or_default().to_owned();
    let comma = list.trailing_comma();
    let trailing = text_of(Some(list.trailing()));
    let Some(last) = list.iter_mut().last() else { return list.push(text) };
    let decor = last.decor_mut();
    let prefix = text_of(decor.prefix());
    // What follows the last element, up to the bracket.
    let mut rest = trailing;
    if !comma {
        rest.insert_str(0, &text_of(decor.suffix()));
        decor.set_suffix("");
    }
    let first_line = rest.split('\n').next().unwrap_or_default();
    let comment = if first_line.contains('#') { first_line.to_owned() } else { String::new() };
    let rest = &rest[comment.len()..];
    let layout = match prefix.rsplit_once('\n') {
        // Only the indentation: what is before it is a comment about the last element, or about the one before.
        Some((_, indentation)) => format!("\n{indentation}"),
        None if !comment.is_empty() => "\n    ".to_owned(),
        None if prefix.is_empty() => " ".to_owned(),
        None => prefix,
    };
    list.push(text);
    if let Some(new) = list.iter_mut().last() {
        new.decor_mut().set_prefix(format!("{comment}{layout}"));
        new.decor_mut().set_suffix(if comma { "" } else { rest });
    }
    list.set_trailing(if comma { rest } else { "" });
}

/// The name that a table uses for a key of the Tauri configuration: camel case, or kebab case if it has that already.
pub(super) fn name_in(table: &dyn TableLike, key: &str) -> String {
    let kebab = crate::project::kebab_case(key);
    if !table.contains_key(key) && table.contains_key(&kebab) { kebab } else { key.to_owned() }
}

/// A JSON value as TOML; an object becomes a table with a header, or inside of a list an inline table.
pub(super) fn item(value: &Value) -> Item {
    match value {
        Value::Object(fields) => {
            let mut table = Table::new();
            for (name, value) in fields {
                table.insert(name, item(value));
            }
            Item::Table(table)
        }
        other => plain(other).map_or(Item::None, Item::Value),
    }
}

/// `None` for null, which TOML does not have.
fn plain(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(elements) => elements.iter().filter_map(plain).collect::<Array>().into(),
        Value::Object(fields) => {
            let pairs = fields.iter().filter_map(|(name, value)| Some((name.as_str(), plain(value)?)));
            pairs.collect::<InlineTable>().into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_of_a_list_stays_with_its_element() {
        for (list, expected) in [
            ("[\"a\"]", "[\"a\", \"new\"]"),
            ("[ \"a\", \"b\" ] # end", "[ \"a\", \"b\", \"new\" ] # end"),
            ("[\"a\", ]", "[\"a\", \"new\", ]"),
            ("[\n    \"a\",\n    \"b\"\n]", "[\n    \"a\",\n    \"b\",\n    \"new\"\n]"),
            (
                "[\n    \"a\", # web\n    # pinned by ops\n    \"b\", # see #12\n]",
                "[\n    \"a\", # web\n    # pinned by ops\n    \"b\", # see #12\n    \"new\",\n]",
            ),
            (
                "[\n  # pinned by ops\n  \"b\" # see #12\n  # end\n]",
                "[\n  # pinned by ops\n  \"b\", # see #12\n  \"new\"\n  # end\n]",
            ),
            ("[\"a\", # web\n]", "[\"a\", # web\n    \"new\",\n]"),
        ] {
            let edited = edit(&format!("list = {list}\n"), |root| add_strings(root, "list", &["new"]));
            assert_eq!(edited, Ok(format!("list = {expected}\n")));
        }
    }
}
