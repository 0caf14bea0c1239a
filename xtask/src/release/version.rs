//! The one version of all packages: the lines of the manifests that contain it.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use semver::Version;

use crate::workspace::Workspace;

/// The manifests, and how the lines begin that contain our version.
const MANIFESTS: &[(&str, &[&str])] = &[
    ("Cargo.toml", &["version = ", "pillion", "tauri-plugin-pillion = "]),
    ("sdk/python/src/pillion/__init__.py", &["__version__ = "]),
    ("package.json", JSON),
    ("apps/desktop/package.json", JSON),
    ("apps/routes/package.json", JSON),
    ("crates/tauri-plugin-pillion/package.json", JSON),
    ("sdk/node/package.json", JSON),
    ("examples/express-backend/package.json", JSON),
    ("examples/fastapi-backend/package.json", JSON),
    ("examples/hono-backend/package.json", JSON),
    ("xtask/openapi-types/package.json", JSON),
    ("apps/backend/openapi.json", JSON),
    ("crates/pillion-build/README.md", &["pillion-build = "]),
    ("docs/package.md", &["pillion-build = "]),
];
/// As [`MANIFESTS`], with the version as `pillion init` writes it to a Cargo.toml: `0.1` or `1`.
const REQUIREMENTS: &[(&str, &[&str])] = &[("docs/init.md", &["+tauri-plugin-pillion = "])];
/// The lock file of a workspace of its own, which depends on crates of this one.
pub(super) const FUZZ_LOCK: &str = "fuzz/Cargo.lock";
const JSON: &[&str] = &["\"version\": ", "\"pillion\": ", "\"tauri-plugin-pillion-api\": "];

/// Returns the version that all manifests have.
///
/// # Errors
///
/// Fails with each line that has another version than the workspace.
pub(super) fn check(workspace: &Workspace) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let mut others = Vec::new();
    let requirement = compatible(version);
    for ((file, starts), version) in of_versions(version, &requirement) {
        let text = read(&workspace.root.join(file))?;
        let lines: Vec<_> = lines(&text, starts).collect();
        ensure!(!lines.is_empty(), "{file} has no line with the version");
        let wrong = lines.iter().filter(|(_, line)| !has(line, version));
        others.extend(wrong.map(|(number, line)| format!("{file}:{number}: {}", line.trim())));
    }
    let locked = locked(&read(&workspace.root.join(FUZZ_LOCK))?);
    ensure!(!locked.is_empty(), "{FUZZ_LOCK} has none of our crates");
    let wrong = locked.iter().filter(|(_, locked)| locked != version);
    others.extend(wrong.map(|(name, locked)| format!("{FUZZ_LOCK}: {name} {locked}")));
    if others.is_empty() {
        return Ok(version.to_owned());
    }
    bail!("these lines do not have version {version}, that of the workspace:\n{}", others.join("\n"))
}

/// Writes the new version to all manifests, which have the current one, and to [`FUZZ_LOCK`]. Cargo would need all dependencies of that
/// lock file without the network, which a machine that never fuzzed does not have.
pub(super) fn set(workspace: &Workspace, current: &str, new: &str) -> Result<()> {
    let write = |file: &str, change: &dyn Fn(&str) -> String| {
        let path = workspace.root.join(file);
        fs::write(&path, change(&read(&path)?)).with_context(|| format!("cannot write {file}"))
    };
    let (from, to) = (compatible(current), compatible(new));
    for (file, starts) in MANIFESTS {
        write(file, &|text| replace(text, starts, current, new))?;
    }
    for (file, starts) in REQUIREMENTS {
        write(file, &|text| replace(text, starts, &from, &to))?;
    }
    write(FUZZ_LOCK, &|text| with_locked(text, current, new))
}

/// All files, each with the version that its lines have.
fn of_versions<'a>(
    version: &'a str,
    requirement: &'a str,
) -> impl Iterator<Item = (&'static (&'static str, &'static [&'static str]), &'a str)> {
    let manifests = MANIFESTS.iter().map(move |file| (file, version));
    manifests.chain(REQUIREMENTS.iter().map(move |file| (file, requirement)))
}

/// The requirement that fits all versions that are compatible with this one: `0.1`, later `1`.
fn compatible(version: &str) -> String {
    let numbers = if version.starts_with("0.") { 2 } else { 1 };
    version.split('.').take(numbers).collect::<Vec<_>>().join(".")
}

/// Returns whether `new` comes after `current` (<https://semver.org/#spec-item-11>).
///
/// # Errors
///
/// Fails if `new` is not a version, or one before a release (`1.2.3-beta.1`): npm would offer it as the latest one.
pub(super) fn is_newer(new: &str, current: &str) -> Result<bool> {
    let parse =
        |text: &str| Version::parse(text).with_context(|| format!("{text:?} is not a version such as 1.2.3"));
    let version = parse(new)?;
    ensure!(
        version.pre.is_empty(),
        "{new} is a version before a release, which the workflow `release` cannot publish yet"
    );
    Ok(version > parse(current)?)
}

fn replace(text: &str, starts: &[&str], current: &str, new: &str) -> String {
    let line = |line: &str| {
        if contains_version(line, starts) {
            line.replace(&format!("{current}\""), &format!("{new}\""))
        } else {
            line.to_owned()
        }
    };
    text.split_inclusive('\n').map(line).collect()
}

/// The lines that contain our version, with their numbers.
fn lines<'a>(text: &'a str, starts: &'a [&str]) -> impl Iterator<Item = (usize, &'a str)> {
    (1..).zip(text.lines()).filter(|(_, line)| contains_version(line, starts))
}

fn contains_version(line: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| line.trim_start().starts_with(start))
        && line.contains(|it: char| it.is_ascii_digit())
}

/// Our crates in a Cargo.lock, with their versions: those without a registry, except the package of the lock file itself.
fn locked(text: &str) -> Vec<(String, String)> {
    let field = |package: &str, name: &str| {
        let start = format!("{name} = \"");
        package.lines().find_map(|line| Some(line.strip_prefix(&start)?.trim_end_matches('"').to_owned()))
    };
    let packages = text.split("[[package]]").filter(|package| field(package, "source").is_none());
    let versions = packages.filter_map(|package| Some((field(package, "name")?, field(package, "version")?)));
    versions.filter(|(name, _)| name != "pillion-fuzz").collect()
}

/// The Cargo.lock with another version of our crates.
fn with_locked(text: &str, current: &str, new: &str) -> String {
    let packages = text.split_inclusive("[[package]]").map(|package| match locked(package).as_slice() {
        [(_, version)] if version == current => {
            package.replacen(&format!("version = \"{current}\""), &format!("version = \"{new}\""), 1)
        }
        _ => package.to_owned(),
    });
    packages.collect()
}

/// Returns whether the line ends a text with this version: `"1.2.3"` or `"^1.2.3"`.
fn has(line: &str, version: &str) -> bool {
    ["\"", "\"^"].iter().any(|quote| line.contains(&format!("{quote}{version}\"")))
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_manifests_have_one_version() {
        check(&Workspace::find().unwrap()).unwrap();
    }

    #[test]
    fn a_new_version_reaches_all_files_without_cargo() {
        let root = Workspace::find().unwrap().root;
        let copy = tempfile::tempdir().unwrap();
        let files = MANIFESTS.iter().chain(REQUIREMENTS).map(|(file, _)| *file);
        for file in files.chain([FUZZ_LOCK]) {
            let to = copy.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(root.join(file), to).unwrap();
        }
        let workspace = Workspace { root: copy.path().to_owned(), target: copy.path().to_owned() };
        set(&workspace, env!("CARGO_PKG_VERSION"), "98.7.6").unwrap();
        for ((file, starts), version) in of_versions("98.7.6", "98") {
            let text = read(&copy.path().join(file)).unwrap();
            assert!(lines(&text, starts).all(|(_, line)| has(line, version)), "{file}");
        }
        let lock = read(&copy.path().join(FUZZ_LOCK)).unwrap();
        assert!(locked(&lock).iter().all(|(_, version)| version == "98.7.6"), "{lock}");
    }

    #[test]
    fn only_our_versions_change() {
        let manifest = "version = \"0.1.0\"\nedition = \"2024\"\nother = \"0.1.0\"\npillion = { path = \"p\", version = \"0.1.0\" }\n";
        let starts = ["version = ", "pillion"];
        let new = replace(manifest, &starts, "0.1.0", "0.2.0");
        assert_eq!(
            new,
            "version = \"0.2.0\"\nedition = \"2024\"\nother = \"0.1.0\"\npillion = { path = \"p\", version = \"0.2.0\" }\n"
        );
        assert_eq!(lines(&new, &starts).map(|(number, _)| number).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(
            replace("  \"pillion\": \"^0.1.0\"\n", JSON, "0.1.0", "1.0.0"),
            "  \"pillion\": \"^1.0.0\"\n"
        );
    }

    #[test]
    fn a_lock_file_has_our_crates_without_a_registry() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry\"\n\n[[package]]\nname = \
                    \"pillion\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"pillion-fuzz\"\nversion = \"0.0.0\"\n";
        assert_eq!(locked(lock), [("pillion".to_owned(), "0.1.0".to_owned())]);
        let changed = lock
            .replace("name = \"pillion\"\nversion = \"0.1.0\"", "name = \"pillion\"\nversion = \"0.2.0\"");
        assert_eq!(with_locked(lock, "0.1.0", "0.2.0"), changed);
        let others = lock.replace("1.0.0", "0.1.0");
        assert_eq!(with_locked(&others, "0.1.0", "0.2.0").matches("0.2.0").count(), 1);
    }

    #[test]
    fn a_requirement_fits_all_compatible_versions() {
        assert_eq!(["0.1.0", "0.12.3", "1.2.3"].map(compatible), ["0.1", "0.12", "1"]);
    }

    #[test]
    fn another_version_of_the_same_ending_is_not_ours() {
        assert!(has("\"pillion\": \"^0.1.0\"", "0.1.0") && has("version = \"0.1.0\"", "0.1.0"));
        assert!(!has("\"pillion\": \"^10.1.0\"", "0.1.0") && !has("\"pillion\": \"0.1.1\"", "0.1.0"));
        assert!(is_newer("0.2.0", "0.1.9").unwrap() && !is_newer("0.2.0", "0.2.0").unwrap());
        assert!(is_newer("0.3.0-beta.1", "0.2.0").unwrap_err().to_string().contains("before a release"));
        assert!(is_newer("next", "0.1.0").is_err());
    }
}
