//! The declarations of docs/servers.md.

use std::{fs, path::Path};

use serde_json::Value;

/// A declaration of the page, with the heading above it.
#[derive(Debug)]
pub(crate) struct Declaration {
    pub(crate) heading: String,
    /// The section `plugins.pillion` of `tauri.conf.json`, with one sidecar.
    pub(crate) section: Value,
}

impl Declaration {
    /// The declaration under this heading.
    pub(crate) fn under(heading: &str) -> Self {
        let all = declarations();
        let found = all.into_iter().find(|declaration| declaration.heading == heading);
        found.unwrap_or_else(|| panic!("docs/servers.md has no declaration under {heading:?}"))
    }

    /// The name of its sidecar.
    pub(crate) fn name(&self) -> &str {
        let sidecars = self.section["sidecars"].as_object().unwrap();
        assert_eq!(sidecars.len(), 1, "{}: one declaration, one sidecar", self.heading);
        sidecars.keys().next().unwrap()
    }
}

/// All declarations of the page, in its order. The page has one block of JSON below a heading.
pub(crate) fn declarations() -> Vec<Declaration> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/servers.md");
    let page = fs::read_to_string(file).unwrap();
    let (mut declarations, mut heading) = (Vec::new(), "");
    let mut block: Option<String> = None;
    for line in page.lines() {
        match &mut block {
            Some(text) if line == "```" => {
                let config: Value = serde_json::from_str(text)
                    .unwrap_or_else(|error| panic!("docs/servers.md, {heading}: {error}"));
                let section = config["plugins"]["pillion"].clone();
                declarations.push(Declaration { heading: heading.to_owned(), section });
                block = None;
            }
            Some(text) => {
                text.push_str(line);
                text.push('\n');
            }
            None if line == "```json" => block = Some(String::new()),
            None => heading = line.strip_prefix("## ").unwrap_or(heading),
        }
    }
    declarations
}
