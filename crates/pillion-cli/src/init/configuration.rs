//! The edits of a Tauri configuration file: schema, external program, declaration, content security policy.

use jsonc_parser::cst::{CstArray, CstInputValue, CstObject};
use serde_json::Value;
use toml_edit::{Item, TableLike};

use super::{csp, json, toml};
use crate::project::Format;

/// What one configuration file lacks. An empty value changes nothing.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The schema that completes and checks `plugins.pillion` in an editor. JSON only.
    pub(super) schema: Option<String>,
    /// The entry of `bundle.externalBin`.
    pub(super) external_bin: Option<String>,
    /// The name of a sidecar and its declaration, in the order of its fields.
    pub(super) sidecar: Option<(String, Vec<(String, Value)>)>,
    /// Changes of `app.security.csp` and `app.security.devCsp`.
    pub(super) policies: Vec<(&'static str, csp::Change)>,
    /// The value of `bundle.targets`.
    pub(super) bundles: Option<Vec<&'static str>>,
    /// An identifier for the list `app.security.capabilities`.
    pub(super) capability: Option<String>,
}

impl Wanted {
    /// Edits the text of a file.
    ///
    /// # Errors
    ///
    /// Fails if the file has another type at one of the places.
    pub(super) fn apply(&self, format: Format, text: &str) -> Result<String, String> {
        match format {
            Format::Json => json::edit(text, |root| self.json(root)),
            Format::Toml => toml::edit(text, |root| self.toml(root)),
        }
    }

    fn json(&self, root: &CstObject) -> Result<(), String> {
        if let Some(schema) = &self.schema {
            match root.get("$schema") {
                Some(property) => property.set_value(CstInputValue::from(schema.as_str())),
                None => drop(root.insert(0, "$schema", CstInputValue::from(schema.as_str()))),
            }
        }
        for (name, change) in &self.policies {
            let security = json::object_at(root, &["app", "security"])?;
            json_policy(&security, name, change)?;
        }
        if let Some(identifier) = &self.capability {
            let security = json::object_at(root, &["app", "security"])?;
            json::add_strings(&json::list_in(&security, "capabilities")?, &[identifier]);
        }
        if let Some(entry) = &self.external_bin {
            let bundle = json::object_at(root, &["bundle"])?;
            json::add_strings(&json::list_in(&bundle, "externalBin")?, &[entry]);
        }
        if let Some(bundles) = &self.bundles {
            let bundle = json::object_at(root, &["bundle"])?;
            let list = CstInputValue::Array(bundles.iter().copied().map(CstInputValue::from).collect());
            match bundle.get("targets") {
                Some(property) => property.set_value(list),
                None => drop(bundle.append("targets", list)),
            }
        }
        if let Some((name, fields)) = &self.sidecar {
            let sidecars = json::object_at(root, &["plugins", "pillion", "sidecars"])?;
            let fields = fields.iter().map(|(name, value)| (name.clone(), json::input(value)));
            sidecars.append(name, CstInputValue::Object(fields.collect()));
        }
        Ok(())
    }

    fn toml(&self, root: &mut dyn TableLike) -> Result<(), String> {
        for (name, change) in &self.policies {
            let security = toml::table_at(root, &["app", "security"])?;
            toml_policy(security, name, change)?;
        }
        if let Some(identifier) = &self.capability {
            let security = toml::table_at(root, &["app", "security"])?;
            toml::add_strings(security, "capabilities", &[identifier])?;
        }
        if let Some(entry) = &self.external_bin {
            let bundle = toml::table_at(root, &["bundle"])?;
            // Tauri's documentation writes the keys of Tauri.toml in kebab case.
            let key = if bundle.contains_key("externalBin") { "externalBin" } else { "external-bin" };
            toml::add_strings(bundle, key, &[entry])?;
        }
        if let Some(bundles) = &self.bundles {
            let list: toml_edit::Array = bundles.iter().copied().collect();
            toml::table_at(root, &["bundle"])?.insert("targets", toml_edit::value(list));
        }
        if let Some((name, fields)) = &self.sidecar {
            let sidecar = toml::table_at(root, &["plugins", "pillion", "sidecars", name])?;
            for (field, value) in fields {
                sidecar.insert(field, toml::item(value));
            }
        }
        Ok(())
    }
}

fn json_policy(security: &CstObject, name: &str, change: &csp::Change) -> Result<(), String> {
    let property =
        security.get(&json::name_in(security, name)).ok_or_else(|| format!("`{name}` is missing"))?;
    if let Some(text) = &change.text {
        property.set_value(CstInputValue::from(text.as_str()));
        return Ok(());
    }
    let policy = property.object_value().ok_or_else(|| format!("`{name}` is not an object"))?;
    match policy.get("connect-src") {
        Some(connect) => match connect.array_value() {
            Some(list) => append_missing(&list, &change.connect),
            None => connect.set_value(CstInputValue::from(change.connect.join(" "))),
        },
        None => drop(policy.append("connect-src", CstInputValue::from(change.connect.join(" ")))),
    }
    Ok(())
}

fn append_missing(list: &CstArray, sources: &[String]) {
    json::add_strings(list, &sources.iter().map(String::as_str).collect::<Vec<_>>());
}

fn toml_policy(security: &mut dyn TableLike, name: &str, change: &csp::Change) -> Result<(), String> {
    let name = toml::name_in(security, name);
    if let Some(text) = &change.text {
        toml::set_text(security, &name, text);
        return Ok(());
    }
    let policy = security.get_mut(&name).and_then(Item::as_table_like_mut);
    let policy = policy.ok_or_else(|| format!("`{name}` is not a table"))?;
    if policy.get("connect-src").is_some_and(Item::is_array) {
        let sources: Vec<_> = change.connect.iter().map(String::as_str).collect();
        return toml::add_strings(policy, "connect-src", &sources);
    }
    toml::set_text(policy, "connect-src", &change.connect.join(" "));
    Ok(())
}

/// Adds permissions to the capability below these keys of a file.
///
/// # Errors
///
/// Fails if the file has no capability there.
pub(super) fn add_permissions(
    format: Format,
    text: &str,
    keys: &[String],
    permissions: &[&str],
) -> Result<String, String> {
    match format {
        Format::Json => json::edit_value(text, |root| {
            let mut node = root;
            for key in keys {
                let next = match (key.parse::<usize>(), node.as_array()) {
                    (Ok(index), Some(list)) => list.elements().into_iter().nth(index),
                    _ => node.as_object().and_then(|object| object.get(key)?.value()),
                };
                node = next.ok_or_else(|| format!("`{}` does not exist", keys.join(".")))?;
            }
            let capability = node.as_object().ok_or("the capability is not an object")?;
            json::add_strings(&json::list_in(&capability, "permissions")?, permissions);
            Ok(())
        }),
        Format::Toml => toml::edit(text, |root| {
            let (last, before) = match keys {
                [] => return toml::add_strings(root, "permissions", permissions),
                [before @ .., last] => (last, before),
            };
            let mut table = root;
            let (list, path) = before.split_last().ok_or("the file is a list")?;
            for key in path {
                table = table
                    .get_mut(key)
                    .and_then(Item::as_table_like_mut)
                    .ok_or_else(|| format!("`{key}` is not a table"))?;
            }
            let tables = table.get_mut(list).and_then(Item::as_array_of_tables_mut);
            let index = last.parse::<usize>().ok();
            let capability = index.and_then(|index| tables?.get_mut(index));
            toml::add_strings(
                capability.ok_or_else(|| format!("`{}` is not a table", keys.join(".")))?,
                "permissions",
                permissions,
            )
        }),
    }
}
