//! The line in the app's build script that lets it build before the sidecars are built.

use syn::{
    Item, Path,
    visit::{self, Visit},
};

use super::builder::NotAdded;

/// What the build script needs, as its first statement.
pub(super) const LINE: &str = "pillion_build::allow_missing_sidecars();";
const CRATE: &str = "pillion_build";
const TAURI: &str = "tauri_build";

/// Adds the line to `main` of a build script that calls tauri-build. The code is changed nowhere else. Its lines end with `\n`.
pub(super) fn allow_missing_sidecars(code: &str) -> Result<String, NotAdded> {
    let parsed = syn::parse_file(code).map_err(|_| NotAdded::Unknown("the file cannot be parsed as Rust"))?;
    let crates = crates(|found| found.visit_file(&parsed));
    if crates.contains(&CRATE.to_owned()) {
        return Err(NotAdded::Present);
    }
    let main = parsed.items.iter().find_map(|item| match item {
        Item::Fn(function) if function.sig.ident == "main" => Some(function),
        _ => None,
    });
    let calls_tauri = main.is_some_and(|main| crates_in(main).contains(&TAURI.to_owned()));
    let Some(main) = main.filter(|_| calls_tauri) else {
        return Err(NotAdded::Unknown("its `main` does not call tauri-build"));
    };
    let after = main.block.brace_token.span.open().byte_range().end;
    let Some((before, rest)) = code.split_at_checked(after).filter(|(before, _)| before.ends_with('{'))
    else {
        return Err(NotAdded::Unknown("the place of `main` is not clear"));
    };
    let same_line = rest.split('\n').next().unwrap_or_default().trim();
    let gap = if same_line.is_empty() || same_line.starts_with("//") {
        let first = rest.lines().skip(1).find(|line| !line.trim().is_empty()).unwrap_or_default();
        format!("\n{}", &first[..first.len() - first.trim_start().len()])
    } else {
        " ".to_owned()
    };
    // A comment behind the brace stays on its line.
    let (comment, rest) =
        if gap.starts_with('\n') { rest.split_at(rest.find('\n').unwrap_or(0)) } else { ("", rest) };
    Ok(format!("{before}{comment}{gap}{LINE}{rest}"))
}

/// The first segments of all paths in a piece of code.
fn crates(visit: impl FnOnce(&mut Crates)) -> Vec<String> {
    let mut found = Crates::default();
    visit(&mut found);
    found.0
}

fn crates_in(function: &syn::ItemFn) -> Vec<String> {
    crates(|found| found.visit_item_fn(function))
}

#[derive(Debug, Default)]
struct Crates(Vec<String>);

impl<'ast> Visit<'ast> for Crates {
    fn visit_path(&mut self, path: &'ast Path) {
        self.0.extend(path.segments.first().map(|segment| segment.ident.to_string()));
        visit::visit_path(self, path);
    }

    fn visit_use_path(&mut self, path: &'ast syn::UsePath) {
        self.0.push(path.ident.to_string());
        visit::visit_use_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_becomes_the_first_statement() {
        for (code, expected) in [
            (
                "fn main() {\n    tauri_build::build()\n}\n",
                "fn main() {\n    pillion_build::allow_missing_sidecars();\n    tauri_build::build()\n}\n",
            ),
            (
                "fn main() { tauri_build::build() }",
                "fn main() { pillion_build::allow_missing_sidecars(); tauri_build::build() }",
            ),
            (
                "fn main() { // é\n\tlet icon = 1;\n\ttauri_build::try_build(a()).unwrap();\n}\n",
                "fn main() { // é\n\tpillion_build::allow_missing_sidecars();\n\tlet icon = 1;\n\ttauri_build::try_build(a()).unwrap();\n}\n",
            ),
        ] {
            assert_eq!(allow_missing_sidecars(code).as_deref(), Ok(expected));
            assert_eq!(allow_missing_sidecars(expected), Err(NotAdded::Present));
        }
    }

    #[test]
    fn another_build_script_is_left_to_the_developer() {
        for code in ["fn main() {}\n", "fn other() { tauri_build::build() }\n", "fn main( {"] {
            assert!(matches!(allow_missing_sidecars(code), Err(NotAdded::Unknown(_))), "{code}");
        }
    }
}
