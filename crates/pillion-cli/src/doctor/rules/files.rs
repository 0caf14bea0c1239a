//! The app's Rust sources: whether, and in which order, they register plugins.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::super::{
    catalogue::{NO_OWN_GUARD, PLUGIN_NOT_REGISTERED, SINGLE_INSTANCE_ORDER},
    report::Finding,
};
use crate::project::Project;

/// A source file without its comments.
#[derive(Debug)]
pub(in super::super) struct Source {
    path: PathBuf,
    code: String,
}

/// Reads the sources of the app's crate, in the order of their names.
pub(in super::super) fn sources(tauri: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![tauri.join("src")];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && let Ok(text) = fs::read_to_string(&path)
            {
                sources.push(Source { path, code: without_comments(&text) });
            }
        }
    }
    sources
}

/// The code of a source file without its comments; empty if the file cannot be read.
pub(in super::super) fn code(path: &Path) -> String {
    fs::read_to_string(path).map(|text| without_comments(&text)).unwrap_or_default()
}

/// Whether a source names this sidecar: code may add it.
pub(in super::super) fn names_sidecar(sources: &[Source], name: &str) -> bool {
    let literal = format!("\"{name}\"");
    sources.iter().any(|source| source.code.contains(&literal))
}

/// Whether the app registers the plugin with the declarations of its configuration.
pub(in super::super) fn registers(sources: &[Source]) -> bool {
    sources.iter().any(|source| source.code.contains("tauri_plugin_pillion::init()"))
}

pub(in super::super) fn check(sources: &[Source], found: &mut Vec<Finding>) {
    // The line for the guard does not register the plugin.
    let uses_plugin = |source: &Source| {
        source.code.replace("tauri_plugin_pillion::guard", "").contains("tauri_plugin_pillion")
    };
    if !sources.iter().any(uses_plugin) {
        found.push(Finding::new(
            &PLUGIN_NOT_REGISTERED,
            "src/lib.rs",
            format!(
                "none of {} source files uses tauri_plugin_pillion for more than its guard",
                sources.len()
            ),
        ));
    } else if !sources.iter().any(|source| source.code.contains("run_if_asked")) {
        found.push(Finding::new(
            &NO_OWN_GUARD,
            "src/lib.rs",
            format!("none of {} source files calls it", sources.len()),
        ));
    }
    for source in sources {
        let registered = |plugin: &str| {
            let places = ["init", "Builder"].map(|name| source.code.find(&format!("{plugin}::{name}")));
            places.into_iter().flatten().min()
        };
        if let (Some(single), Some(pillion)) =
            (registered("tauri_plugin_single_instance"), registered("tauri_plugin_pillion"))
            && pillion < single
        {
            let line = |at: usize| source.code[..at].matches('\n').count() + 1;
            found.push(Finding::new(
                &SINGLE_INSTANCE_ORDER,
                format!("{}:{}", Project::shown(&source.path), line(single)),
                format!("tauri_plugin_pillion is registered before it, in line {}", line(pillion)),
            ));
        }
    }
}

/// Replaces comments by spaces, so that lines stay where they are.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            // A string may contain slashes, as in "http://…".
            let length = if next == '"' { string_length(rest) } else { next.len_utf8() };
            code.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        };
        code.extend(rest[..length].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

/// The length of the string literal at the start of the text.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return at + 1,
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        let source = Source { path: "src/lib.rs".into(), code: without_comments(code) };
        check(&[source], &mut found);
        found.iter().map(|finding| finding.kind.id).collect()
    }

    #[test]
    fn the_order_of_two_plugins_is_that_of_their_calls() {
        let single = "guard::run_if_asked(); .plugin(tauri_plugin_single_instance::init(|_, _, _| {}))";
        let pillion = ".plugin(tauri_plugin_pillion::init())";
        assert_eq!(found(&format!("{single}{pillion}")), Vec::<&str>::new());
        assert_eq!(found(&format!("{pillion}\n{single}")), ["single-instance-order"]);
        assert_eq!(found(&format!("// {pillion}\n{single}{pillion}")), Vec::<&str>::new());
        assert_eq!(
            found(&format!("use tauri_plugin_pillion::PillionExt;\n{single}{pillion}")),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn an_app_that_cannot_be_a_guard_is_found() {
        let plugin = "tauri_plugin_pillion::init()";
        assert_eq!(found(&format!("// guard::run_if_asked();\n{plugin}")), ["no-own-guard"]);
        assert_eq!(found(&format!("guard::run_if_asked();\n{plugin}")), Vec::<&str>::new());
    }

    #[test]
    fn a_plugin_in_a_comment_is_not_registered() {
        assert_eq!(found("/* tauri_plugin_pillion::init() */ let a = \"/*\";"), ["plugin-not-registered"]);
        assert_eq!(found("let a = \"http://a\\\"//\"; tauri_plugin_pillion::init()"), ["no-own-guard"]);
    }
}
