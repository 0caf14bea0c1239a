//! Where an app gets Pillion's packages from.

use std::path::{Component, Path, PathBuf};

use toml_edit::{InlineTable, Value};

use crate::project::normalize;

/// The source of Pillion's packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// crates.io, the npm registry and `PyPI`.
    Registries,
    /// A clone of Pillion's repository on this machine.
    Folder(PathBuf),
    /// The URL of Pillion's repository.
    Git(String),
}

/// A package of Pillion, with its folder in the repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Package {
    pub(super) name: &'static str,
    folder: &'static str,
    /// The folder of the compiled files in `folder`, which no repository contains: npm installs a folder as it is.
    compiled: Option<&'static str>,
}

impl Package {
    const fn of_source(name: &'static str, folder: &'static str) -> Self {
        Self { name, folder, compiled: None }
    }
}

pub(super) const PLUGIN: Package = Package::of_source("tauri-plugin-pillion", "crates/tauri-plugin-pillion");
pub(super) const BUILD: Package = Package::of_source("pillion-build", "crates/pillion-build");
pub(super) const SERVER: Package = Package::of_source("pillion-server", "crates/pillion-server");
pub(super) const CLIENT: Package = Package {
    name: "tauri-plugin-pillion-api",
    folder: "crates/tauri-plugin-pillion",
    compiled: Some("dist-js"),
};
pub(super) const NODE_SDK: Package = Package { name: "pillion", folder: "sdk/node", compiled: Some("dist") };
pub(super) const PYTHON_SDK: Package = Package::of_source("pillion", "sdk/python");

impl Source {
    /// Reads the value of `--source`: a URL, or the folder of a clone.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") || text.starts_with("git@") {
            return Ok(Self::Git(text.to_owned()));
        }
        let folder = std::path::absolute(text).map_err(|error| format!("{text}: {error}"))?;
        let manifest = folder.join(PLUGIN.folder).join("Cargo.toml");
        if manifest.is_file() {
            return Ok(Self::Folder(normalize(&folder)));
        }
        Err(format!(
            "{text} is not a clone of Pillion's repository: {} does not exist; name the folder of the clone, or a URL",
            manifest.display()
        ))
    }

    /// The value of a dependency in a `Cargo.toml` in this folder.
    pub(super) fn cargo(&self, package: Package, manifest_folder: &Path) -> Value {
        let mut table = InlineTable::new();
        match self {
            Self::Registries => return Value::from(cargo_version()),
            Self::Folder(source) => table.insert("path", relative(manifest_folder, source, package).into()),
            Self::Git(url) => table.insert("git", url.into()),
        };
        Value::InlineTable(table)
    }

    /// The value of a dependency in a `package.json` in this folder; `None` if npm cannot install it from there: it installs no
    /// package from a folder of a git repository.
    pub(super) fn npm(&self, package: Package, package_folder: &Path) -> Option<String> {
        match self {
            Self::Registries => Some(format!("^{}", env!("CARGO_PKG_VERSION"))),
            Self::Folder(source) => Some(format!("file:{}", relative(package_folder, source, package))),
            Self::Git(_) => None,
        }
    }

    /// The value of an import in a `deno.json` in this folder; `None` if Deno cannot import it from there.
    pub(super) fn deno(&self, package: Package, folder: &Path) -> Option<String> {
        match self {
            Self::Registries => Some(format!("npm:{}@^{}", package.name, env!("CARGO_PKG_VERSION"))),
            Self::Folder(source) => {
                let path = relative(folder, source, package);
                let start = if path.starts_with('.') || path.starts_with('/') { "" } else { "./" };
                Some(format!("{start}{path}/{}/index.js", package.compiled?))
            }
            Self::Git(_) => None,
        }
    }

    /// The folder of the clone, and the command that builds this npm package there, if it is not built.
    pub(super) fn unbuilt(&self, package: Package) -> Option<(&Path, String)> {
        let Self::Folder(clone) = self else { return None };
        let built = clone.join(package.folder).join(package.compiled?).is_dir();
        (!built).then(|| (&**clone, format!("npm ci && npm run build --workspace {}\n", package.folder)))
    }

    /// The line for the Python package in a `requirements.txt` in this folder. A relative path is no PEP 508, but a line that pip and
    /// uv read: <https://pip.pypa.io/en/stable/reference/requirements-file-format/>. Both take it relative to the folder that they are
    /// called in, which is that of the file in all commands that we show, run and write.
    pub(super) fn python_line(&self, folder: &Path, extra: &str) -> String {
        match self {
            Self::Folder(source) => format!("{}{extra}", relative(folder, source, PYTHON_SDK)),
            Self::Registries | Self::Git(_) => self.python(extra),
        }
    }

    /// Whether a line of a `requirements.txt` names the Python package, by its name or by the path of a clone.
    pub(super) fn is_python_line(line: &str) -> bool {
        let name =
            line.trim().split(['[', '<', '>', '=', '!', '~', ' ', '@', ';']).next().unwrap_or_default();
        name.eq_ignore_ascii_case(PYTHON_SDK.name) || Path::new(name).ends_with(PYTHON_SDK.folder)
    }

    /// The requirement for the Python package, in the form of PEP 508, which knows no relative paths:
    /// <https://peps.python.org/pep-0508/>.
    pub(super) fn python(&self, extra: &str) -> String {
        let Package { name, folder, .. } = PYTHON_SDK;
        match self {
            Self::Registries => format!("{name}{extra}>={},<{}", cargo_version(), next_breaking()),
            Self::Folder(source) => {
                let path = source.join(folder).display().to_string().replace('\\', "/");
                format!("{name}{extra} @ file://{}{path}", if path.starts_with('/') { "" } else { "/" })
            }
            Self::Git(url) => format!("{name}{extra} @ git+{url}#subdirectory={folder}"),
        }
    }
}

/// The requirement that fits all compatible versions: `0.1`, later `1`.
fn cargo_version() -> &'static str {
    const {
        if env!("CARGO_PKG_VERSION_MAJOR").len() == 1 && env!("CARGO_PKG_VERSION_MAJOR").as_bytes()[0] == b'0'
        {
            concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"))
        } else {
            env!("CARGO_PKG_VERSION_MAJOR")
        }
    }
}

/// The first version that may break what works with this one.
fn next_breaking() -> String {
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    let (major, minor) = (number(env!("CARGO_PKG_VERSION_MAJOR")), number(env!("CARGO_PKG_VERSION_MINOR")));
    if major == 0 { format!("0.{}", minor + 1) } else { (major + 1).to_string() }
}

/// The folder of a package relative to another folder.
fn relative(from: &Path, source: &Path, package: Package) -> String {
    relative_path(from, &source.join(package.folder))
}

/// A path relative to a folder, with slashes. Absolute if they are on different drives.
pub(super) fn relative_path(from: &Path, to: &Path) -> String {
    let (from, to) = (normalize(from), normalize(to));
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let path: PathBuf = if shared == 0 {
        to
    } else {
        let up = from.components().skip(shared).map(|_| Component::ParentDir);
        up.chain(to.components().skip(shared)).collect()
    };
    let path = path.display().to_string().replace('\\', "/");
    if path.is_empty() { ".".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use semver::{Version, VersionReq};

    use super::*;

    #[test]
    fn registries_are_named_by_the_versions_that_fit_this_one() {
        let folder = Path::new("/app/src-tauri");
        let own: Version = env!("CARGO_PKG_VERSION").parse().unwrap();
        let patch = Version::new(own.major, own.minor, own.patch + 1);
        let before = Version::new(0, 0, 0);
        let breaking = if own.major == 0 {
            Version::new(0, own.minor + 1, 0)
        } else {
            Version::new(own.major + 1, 0, 0)
        };
        let cargo = Source::Registries.cargo(PLUGIN, folder);
        let npm = Source::Registries.npm(CLIENT, folder).unwrap();
        let python = Source::Registries.python("[uvicorn]");
        let python = python.strip_prefix("pillion[uvicorn]").unwrap();
        for requirement in [cargo.as_str().unwrap(), &npm, python] {
            let fits = |version| VersionReq::parse(requirement).unwrap().matches(version);
            assert!(fits(&own) && fits(&patch), "{requirement}");
            assert!(!fits(&before) && !fits(&breaking), "{requirement}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_clone_is_named_by_relative_paths() {
        let source = Source::Folder(PathBuf::from("/src/pillion"));
        let value = source.cargo(PLUGIN, Path::new("/src/app/src-tauri")).to_string();
        assert_eq!(value, "{ path = \"../../pillion/crates/tauri-plugin-pillion\" }");
        assert_eq!(
            source.npm(NODE_SDK, Path::new("/src/app/backend")).as_deref(),
            Some("file:../../pillion/sdk/node")
        );
        assert_eq!(source.python_line(Path::new("/src/app/backend"), ""), "../../pillion/sdk/python");
        assert_eq!(source.python("[uvicorn]"), "pillion[uvicorn] @ file:///src/pillion/sdk/python");
    }

    #[test]
    fn a_line_for_the_python_package_is_known_in_each_form() {
        let clone = Source::Folder(PathBuf::from("/src/pillion"));
        for line in [
            "pillion",
            "Pillion[uvicorn]>=0.1",
            " pillion ; python_version > \"3.9\"",
            &Source::Registries.python("[uvicorn]"),
            &clone.python(""),
            &clone.python_line(Path::new("/src/app/backend"), "[websockets]"),
            "../../other-clone/sdk/python",
        ] {
            assert!(Source::is_python_line(line), "{line}");
        }
        for line in ["pillion-extra", "fastapi", "", "# pillion", "../sdk/python-other", "-r base.txt"] {
            assert!(!Source::is_python_line(line), "{line}");
        }
    }

    #[test]
    fn a_repository_is_named_by_its_url() {
        let source = Source::parse("https://example.org/pillion.git").unwrap();
        let value = source.cargo(SERVER, Path::new("/app")).to_string();
        assert_eq!(value, "{ git = \"https://example.org/pillion.git\" }");
        assert_eq!(source.npm(CLIENT, Path::new("/app")), None);
        assert_eq!(
            source.python("[uvicorn]"),
            "pillion[uvicorn] @ git+https://example.org/pillion.git#subdirectory=sdk/python"
        );
    }

    #[test]
    fn another_folder_is_not_a_source() {
        let folder = tempfile::tempdir().unwrap();
        let error = Source::parse(&folder.path().display().to_string()).unwrap_err();
        assert!(error.contains("not a clone of Pillion's repository"), "{error}");
    }
}
