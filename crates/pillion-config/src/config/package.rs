//! How the program of a sidecar is built.

use serde::{Deserialize, Deserializer, de};

/// How `pillion package` builds the program of the sidecar for a bundle. The app ignores it.
///
/// It has exactly one of `rust`, `node`, `bun`, `go`, `python` and `command`. Paths are relative to the project: the folder that
/// contains `src-tauri`. `docs/package.md` in the repository describes each way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(remote = "Self", rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct PackageConfig {
    /// The folder of a Cargo package, which `cargo build --release` builds.
    pub rust: Option<String>,
    /// With `rust`: the name of the binary, if the package has several.
    pub bin: Option<String>,
    /// The main file of a server for Node, in JavaScript or TypeScript. It is bundled, and put into a copy of Node.
    pub node: Option<String>,
    /// With `node`: the exact version of Node, such as `"22.23.2"`, which is the default.
    pub node_version: Option<String>,
    /// The main file of a server for Bun, which `bun build --compile` builds.
    pub bun: Option<String>,
    /// The folder of a main package in Go, which `go build` builds.
    pub go: Option<String>,
    /// The main file of a server in Python, which `PyInstaller` packs with its interpreter, only for this machine's system.
    pub python: Option<String>,
    /// With `python`: whether to make a folder of the bundle's resources instead of one file that unpacks itself at each start;
    /// `false` by default. The declaration then needs `resource`.
    #[serde(default)]
    pub onedir: bool,
    /// Any other program and its arguments. It must write the sidecar's program to the path `${output}`, for the target triple
    /// `${target}`.
    pub command: Option<Vec<String>>,
    /// With `command`: the working directory; the project by default.
    pub cwd: Option<String>,
    /// More arguments for the tool that builds: Cargo, esbuild (for `node`), Bun, Go or `PyInstaller`.
    #[serde(default)]
    pub args: Vec<String>,
    /// More files and folders that the program is built from. `pillion package` builds again after one of them has changed.
    #[serde(default)]
    pub inputs: Vec<String>,
}

/// The tool that builds a program, with what belongs to it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are those of `PackageConfig`")]
pub enum PackageTool<'a> {
    /// Cargo.
    Rust { folder: &'a str, bin: Option<&'a str> },
    /// Node, as a single executable application.
    Node { main: &'a str, version: Option<&'a str> },
    /// Bun.
    Bun { main: &'a str },
    /// Go.
    Go { folder: &'a str },
    /// `PyInstaller`.
    Python { main: &'a str, onedir: bool },
    /// Any other program.
    Command { command: &'a [String], cwd: Option<&'a str> },
}

impl<'de> Deserialize<'de> for PackageConfig {
    fn deserialize<D: Deserializer<'de>>(declared: D) -> Result<Self, D::Error> {
        let config = Self::deserialize(declared)?;
        config.tool().map_err(de::Error::custom)?;
        Ok(config)
    }
}

impl PackageConfig {
    /// The tool that builds the program. A deserialised declaration always has one.
    ///
    /// # Errors
    ///
    /// Fails with what is wrong, and what to write, if the declaration names no tool or several, or has a field of another tool.
    pub fn tool(&self) -> Result<PackageTool<'_>, &'static str> {
        let tools = [
            self.rust.as_deref().map(|folder| PackageTool::Rust { folder, bin: self.bin.as_deref() }),
            self.node
                .as_deref()
                .map(|main| PackageTool::Node { main, version: self.node_version.as_deref() }),
            self.bun.as_deref().map(|main| PackageTool::Bun { main }),
            self.go.as_deref().map(|folder| PackageTool::Go { folder }),
            self.python.as_deref().map(|main| PackageTool::Python { main, onedir: self.onedir }),
            self.command.as_deref().map(|command| PackageTool::Command { command, cwd: self.cwd.as_deref() }),
        ];
        let mut named = tools.into_iter().flatten();
        let (Some(tool), None) = (named.next(), named.next()) else {
            return Err("give exactly one of rust, node, bun, go, python and command");
        };
        let (rust, node, python, command) = (
            matches!(tool, PackageTool::Rust { .. }),
            matches!(tool, PackageTool::Node { .. }),
            matches!(tool, PackageTool::Python { .. }),
            matches!(tool, PackageTool::Command { .. }),
        );
        match tool {
            _ if self.bin.is_some() && !rust => Err("bin belongs to rust: leave it out"),
            _ if self.node_version.is_some() && !node => Err("nodeVersion belongs to node: leave it out"),
            _ if self.onedir && !python => Err("onedir belongs to python: leave it out"),
            _ if self.cwd.is_some() && !command => Err("cwd belongs to command: leave it out"),
            _ if command && !self.args.is_empty() => {
                Err("the arguments of a command belong in command itself: leave args out")
            }
            PackageTool::Command { command: [], .. } => {
                Err("command is empty: give a program and its arguments, such as [\"make\", \"backend\"]")
            }
            PackageTool::Command { command, .. }
                if !command.iter().any(|word| word.contains(Self::OUTPUT)) =>
            {
                Err("command needs the argument ${output}: the path that it writes the program to")
            }
            PackageTool::Node { version: Some(version), .. } if !is_exact(version) => {
                Err("nodeVersion must be exact, such as \"22.23.2\"")
            }
            _ => Ok(tool),
        }
    }

    /// In `command`: stands for the path that the program is written to.
    pub const OUTPUT: &'static str = "${output}";
    /// In `command`: stands for the target triple.
    pub const TARGET: &'static str = "${target}";
}

/// Whether this is a version of three numbers.
fn is_exact(version: &str) -> bool {
    let parts: Vec<_> = version.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(declared: Value) -> Result<PackageConfig, String> {
        serde_json::from_value(declared).map_err(|error| error.to_string())
    }

    #[test]
    fn each_tool_is_named_by_its_field() {
        for declared in [
            json!({ "rust": "backend", "bin": "server", "args": ["--features", "full"] }),
            json!({ "node": "src/index.ts", "nodeVersion": "22.23.2" }),
            json!({ "bun": "src/index.ts", "inputs": ["shared"] }),
            json!({ "go": "." }),
            json!({ "python": "main.py", "onedir": true }),
            json!({ "command": ["make", "OUT=${output}", "TARGET=${target}"], "cwd": "backend" }),
        ] {
            let config = parse(declared.clone()).unwrap_or_else(|error| panic!("{declared}: {error}"));
            assert!(config.tool().is_ok(), "{declared}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (declared, hint) in [
            (json!({}), "exactly one of rust, node"),
            (json!({ "rust": ".", "go": "." }), "exactly one of rust, node"),
            (json!({ "go": ".", "bin": "server" }), "bin belongs to rust"),
            (json!({ "bun": "a.ts", "nodeVersion": "22.23.2" }), "nodeVersion belongs to node"),
            (json!({ "node": "a.ts", "nodeVersion": "22" }), "must be exact"),
            (json!({ "node": "a.ts", "onedir": true }), "onedir belongs to python"),
            (json!({ "rust": ".", "cwd": "." }), "cwd belongs to command"),
            (json!({ "command": [] }), "command is empty"),
            (json!({ "command": ["make"] }), "needs the argument ${output}"),
            (json!({ "command": ["make", "${output}"], "args": ["-j"] }), "leave args out"),
            (json!({ "deno": "a.ts" }), "unknown field `deno`"),
        ] {
            let error = parse(declared.clone()).expect_err("the declaration is valid");
            assert!(error.contains(hint), "{declared}: {error}");
        }
    }
}
