//! Checks that the modules of the supervisor do not depend on each other in a circle.
//!
//! A module here is a file or folder directly in `crates/pillion/src`. It depends on another one if its code outside of tests says
//! `crate::NAME`. What `lib.rs` exports again does not count, because that says nothing about the place of its definition.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use xshell::cmd;

use crate::workspace::Workspace;

const SOURCES: &str = "crates/pillion/src";

/// Which modules a module uses.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Fails if there is a circle, and names its modules.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let sh = workspace.shell()?;
    let files = cmd!(sh, "git ls-files --cached --others --exclude-standard -- {SOURCES}").quiet().read()?;
    let mut graph = Graph::new();
    for file in
        files.lines().filter(|file| !Path::new(file).iter().any(|part| is_test(&part.to_string_lossy())))
    {
        let Some((module, _)) = file.strip_prefix(SOURCES).and_then(|file| file[1..].split_once(['/', '.']))
        else {
            continue;
        };
        let path = workspace.root.join(file);
        // Git still names a file that was deleted, but not committed.
        if path.exists() {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
            graph.entry(module.to_owned()).or_default().extend(used(&text));
        }
    }
    let circle = circle(&graph);
    if circle.is_empty() {
        Ok(())
    } else {
        bail!("modules of {SOURCES} form a circle: {}", circle.join(" -> "))
    }
}

fn is_test(part: &str) -> bool {
    matches!(part, "tests" | "tests.rs" | "lib.rs")
}

/// The modules after `crate::`, also in a list in braces, outside of comments and of a test module at the end.
fn used(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |code, line| code + line + "\n");
    let mut modules = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let mut depth = 0_usize;
        // The position where the name of a module may begin.
        let mut begins = true;
        for (at, character) in rest.char_indices() {
            if begins && character.is_alphabetic() {
                let name =
                    rest[at..].split(|character: char| !(character.is_alphanumeric() || character == '_'));
                modules.extend(name.take(1).map(str::to_owned));
                begins = false;
            }
            match character {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ',' if depth == 1 => begins = true,
                _ => {}
            }
            if depth == 0 && (!begins || character == '}') {
                break;
            }
        }
    }
    modules
}

/// The first circle, or nothing: modules that remain when all that use no remaining module are taken away, again and again.
fn circle(graph: &Graph) -> Vec<&str> {
    let mut left: BTreeSet<&str> = graph.keys().map(String::as_str).collect();
    let uses_left = |module: &str, left: &BTreeSet<&str>| {
        graph[module]
            .iter()
            .map(String::as_str)
            .find(|used| *used != module && left.contains(used))
            .map(str::to_owned)
    };
    loop {
        let before = left.len();
        left = left.iter().copied().filter(|module| uses_left(module, &left).is_some()).collect();
        if left.len() == before {
            break;
        }
    }
    let mut circle: Vec<&str> = left.first().copied().into_iter().collect();
    while let Some(next) = circle.last().and_then(|module| uses_left(module, &left)) {
        let Some(next) = left.get(next.as_str()).copied() else { break };
        let closed = circle.contains(&next);
        circle.push(next);
        if closed {
            break;
        }
    }
    circle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_after_crate_and_in_lists() {
        let text = "use crate::{\n    state::{self, crate_like},\n    spec::Spec,\n    status,\n};\nfn f() { crate::sys::kill() }\n// crate::health\n";
        assert_eq!(used(text).into_iter().collect::<Vec<_>>(), ["spec", "state", "status", "sys"]);
    }

    #[test]
    fn a_circle_is_named_and_a_chain_is_not_one() {
        let graph = |edges: &[(&str, &[&str])]| -> Graph {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            edges.iter().map(|(module, used)| ((*module).to_owned(), owned(used))).collect()
        };
        assert!(circle(&graph(&[("a", &["b", "a"]), ("b", &["c"]), ("c", &[])])).is_empty());
        assert_eq!(circle(&graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])), ["a", "b", "c", "b"]);
    }
}
