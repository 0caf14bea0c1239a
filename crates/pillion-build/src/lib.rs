//! For the build script of a Tauri app with sidecars: development needs no built sidecar.
//!
//! tauri-build fails if a file of `bundle.externalBin` is absent, so that not even `cargo check` works in a clean clone
//! ([tauri#14602]). With [`allow_missing_sidecars`] in the build script, an absent file is a warning: the build continues without it,
//! the app says at run time that the program is missing, and `tauri build` still refuses to bundle. The next build uses the file once
//! it exists. A build for Android or iOS, where no sidecar runs, goes on without a warning.
//!
//! [tauri#14602]: https://github.com/tauri-apps/tauri/issues/14602

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tauri_utils::{config::parse, platform::Target, resources::external_binaries};

/// Set by the outer build script for the inner one, which then does not look for sidecars again.
const LOOKED: &str = "PILLION_BUILD_LOOKED_FOR_SIDECARS";
/// A change of the configuration, which tauri-build merges into the one in the files (JSON merge patch, RFC 7396).
const TAURI_CONFIG: &str = "TAURI_CONFIG";
/// The spellings of the list of sidecars in `bundle`.
const EXTERNAL_BIN: [&str; 2] = ["externalBin", "external-bin"];

/// Lets the build continue if programs of sidecars are missing. Call it first in `main` of `src-tauri/build.rs`, before
/// `tauri_build::build()`.
///
/// If nothing is missing, it does nothing. Otherwise it runs the build script again with a configuration without the missing files,
/// and ends this process with the exit status of that run, because a process cannot safely change its own environment, from which
/// tauri-build takes the change. Missing are files of `bundle.externalBin`, and sources in `bundle.resources` of sidecars that are
/// declared with `resource`.
///
/// It prints its errors, such as an unreadable configuration, as warnings of Cargo, and returns: tauri-build then reports them too.
#[expect(clippy::print_stdout, reason = "Cargo reads the output of a build script")]
pub fn allow_missing_sidecars() {
    if env::var_os(LOOKED).is_some() {
        return;
    }
    match look() {
        Ok(None) => {}
        Ok(Some(status)) => std::process::exit(status),
        Err(error) => println!("cargo:warning=pillion-build cannot look for missing sidecars: {error}"),
    }
}

/// Runs the build script again if something is missing, and returns its exit code.
#[expect(clippy::print_stdout, reason = "Cargo reads the output of a build script")]
fn look() -> Result<Option<i32>, Box<dyn Error>> {
    let triple = env::var("TARGET")?;
    let target = Target::from_triple(&triple);
    // A build script runs in the folder of its package.
    let (config, _) = parse::read_from(target, Path::new("."))?;
    let change = env::var(TAURI_CONFIG).ok().map(|change| serde_json::from_str(&change)).transpose()?;
    let missing = missing(&config, change.as_ref(), &triple, &target, Path::new("."))?;
    if missing.files.is_empty() {
        return Ok(None);
    }
    // No sidecar runs on the others: the app is complete without its programs.
    for file in missing.files.iter().filter(|_| !matches!(target, Target::Android | Target::Ios)) {
        println!(
            "cargo:warning=the program of a sidecar is missing: {}; {} before you bundle the app, and before `tauri dev` if its \
             declaration has no `dev`",
            file.display(),
            missing.cure()
        );
        // Cargo watches the folder and not the file: it treats an absent file as changed in every build.
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
            println!("cargo:rerun-if-changed={}", folder.display());
        }
    }
    let status = Command::new(env::current_exe()?)
        .env(LOOKED, "1")
        .env(TAURI_CONFIG, missing.change.to_string())
        .status()?;
    Ok(Some(status.code().unwrap_or(1)))
}

/// What is missing.
#[derive(Debug, Default, PartialEq)]
struct Missing {
    files: Vec<PathBuf>,
    /// The change of the configuration that leaves the files out.
    change: Value,
    /// Whether a declaration says how its program is built.
    has_package: bool,
}

impl Missing {
    fn cure(&self) -> &'static str {
        if self.has_package {
            "run `pillion package`"
        } else {
            "build it (`pillion package` does so if `package` in the declaration says how)"
        }
    }

    /// Adds the `bundle.resources` that are missing and contain the program of a sidecar.
    fn look_for_resources(&mut self, resources: &Value, sidecars: &[&Value], folder: &Path) {
        let programs: Vec<&str> =
            sidecars.iter().filter_map(|sidecar| sidecar.get("resource")?.as_str()).collect();
        let is_missing = |source: &str, into: &str| {
            let into = without_pattern(into).trim_start_matches("./");
            let of_sidecar = programs.iter().any(|program| {
                into.is_empty()
                    || program.strip_prefix(into).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            of_sidecar && !folder.join(without_pattern(source)).exists()
        };
        match resources {
            Value::Array(sources) => {
                let absent =
                    |source: &&Value| source.as_str().is_some_and(|source| is_missing(source, source));
                let files: Vec<_> =
                    sources.iter().filter(absent).filter_map(Value::as_str).map(PathBuf::from).collect();
                if !files.is_empty() {
                    self.change["bundle"]["resources"] =
                        sources.iter().filter(|source| !absent(source)).cloned().collect();
                    self.files.extend(files);
                }
            }
            Value::Object(map) => {
                for (source, into) in map {
                    if is_missing(source, into.as_str().unwrap_or_default()) {
                        // In a merge patch, null removes a member.
                        self.change["bundle"]["resources"][source] = Value::Null;
                        self.files.push(PathBuf::from(source));
                    }
                }
            }
            _ => {}
        }
    }
}

/// The folder of a pattern such as `backend/**/*`.
fn without_pattern(path: &str) -> &str {
    path.trim_end_matches("**/*").trim_end_matches(['*', '/'])
}

/// Looks for the files that this configuration, with this change, demands for the sidecars.
fn missing(
    config: &Value,
    change: Option<&Value>,
    triple: &str,
    target: &Target,
    folder: &Path,
) -> Result<Missing, Box<dyn Error>> {
    let get = |pointer: &str| {
        change
            .and_then(|change| change.pointer(pointer))
            .or_else(|| config.pointer(pointer))
            .unwrap_or(&Value::Null)
    };
    let sidecars: Vec<&Value> =
        get("/plugins/pillion/sidecars").as_object().into_iter().flat_map(serde_json::Map::values).collect();
    let mut missing = Missing {
        files: Vec::new(),
        change: change.cloned().unwrap_or_else(|| json!({})),
        has_package: sidecars.iter().any(|sidecar| sidecar.get("package").is_some()),
    };
    // Tauri.toml may spell it in kebab case. Tauri refuses a configuration with both spellings, so the change has the same one.
    let spelled = [change, Some(config)].into_iter().flatten().find_map(|value| {
        EXTERNAL_BIN.into_iter().find_map(|key| Some((key, value.get("bundle")?.get(key)?)))
    });
    let (key, names) = spelled.unwrap_or((EXTERNAL_BIN[0], &Value::Null));
    let names: Vec<String> = match names {
        Value::Null => Vec::new(),
        names => serde_json::from_value(names.clone())?,
    };
    let files = external_binaries(&names, triple, target);
    let exists = |file: &String| folder.join(file).is_file();
    if files.iter().any(|file| !exists(file)) {
        let present = names.iter().zip(&files).filter(|(_, file)| exists(file));
        missing.change["bundle"][key] = present.map(|(name, _)| name.as_str()).collect();
        missing.files.extend(files.iter().filter(|file| !exists(file)).map(PathBuf::from));
    }
    missing.look_for_resources(get("/bundle/resources"), &sidecars, folder);
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_for(config: &Value, change: Option<&Value>, existing: &[&str]) -> Missing {
        let folder = tempfile::tempdir().unwrap();
        for file in existing {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let triple = "x86_64-pc-windows-msvc";
        missing(config, change, triple, &Target::from_triple(triple), folder.path()).unwrap()
    }

    #[test]
    fn only_missing_programs_are_left_out() {
        let config = json!({ "bundle": { "externalBin": ["binaries/a", "binaries/b"] } });
        let found = look_for(&config, None, &["binaries/a-x86_64-pc-windows-msvc.exe"]);
        assert_eq!(found.files, [Path::new("binaries/b-x86_64-pc-windows-msvc.exe")]);
        assert_eq!(found.change, json!({ "bundle": { "externalBin": ["binaries/a"] } }));
    }

    #[test]
    fn pillion_package_is_advised_if_a_declaration_says_how_a_program_is_built() {
        let cure = |sidecar: &Value| {
            let config = json!({ "bundle": { "externalBin": ["a"] }, "plugins": { "pillion": { "sidecars": { "a": sidecar } } } });
            look_for(&config, None, &[]).cure()
        };
        assert!(cure(&json!({ "package": { "go": "backend" } })).starts_with("run `pillion package`"));
        assert!(cure(&json!({})).starts_with("build it"));
    }

    #[test]
    fn nothing_is_missing() {
        let config = json!({ "bundle": { "externalBin": ["a"], "resources": ["data/"] } });
        assert!(look_for(&config, None, &["a-x86_64-pc-windows-msvc.exe"]).files.is_empty());
        assert!(look_for(&json!({}), None, &[]).files.is_empty());
    }

    #[test]
    fn a_missing_program_of_tauri_toml_is_left_out_in_its_spelling() {
        // As read from `external-bin = ["binaries/a"]` in the section `[bundle]`.
        let config = json!({ "bundle": { "external-bin": ["binaries/a"] } });
        let found = look_for(&config, None, &[]);
        assert_eq!(found.files, [Path::new("binaries/a-x86_64-pc-windows-msvc.exe")]);
        assert_eq!(found.change, json!({ "bundle": { "external-bin": [] } }));
    }

    #[test]
    fn a_change_of_the_command_line_stays() {
        let config = json!({ "bundle": { "externalBin": ["a"] } });
        let change = json!({ "version": "2.0.0", "bundle": { "externalBin": ["b"] } });
        let found = look_for(&config, Some(&change), &[]);
        assert_eq!(found.files, [Path::new("b-x86_64-pc-windows-msvc.exe")]);
        assert_eq!(found.change, json!({ "version": "2.0.0", "bundle": { "externalBin": [] } }));
    }

    #[test]
    fn the_missing_folder_of_a_sidecar_among_the_resources_is_left_out() {
        let sidecars = json!({ "pillion": { "sidecars": { "backend": { "resource": "backend/backend" } } } });
        let config = json!({ "plugins": sidecars, "bundle": { "resources": { "binaries/backend/": "backend/", "icons/": "icons/" } } });
        let found = look_for(&config, None, &[]);
        assert_eq!(found.files, [Path::new("binaries/backend/")]);
        assert_eq!(found.change, json!({ "bundle": { "resources": { "binaries/backend/": null } } }));
        let listed = json!({ "plugins": sidecars, "bundle": { "resources": ["backend/**/*", "icons/"] } });
        assert_eq!(look_for(&listed, None, &[]).change, json!({ "bundle": { "resources": ["icons/"] } }));
        assert!(look_for(&listed, None, &["backend/backend.exe"]).files.is_empty());
        for resources in [json!(["./backend/"]), json!({ "dist/": "./backend" }), json!({ "dist/": "" })] {
            let config = json!({ "plugins": sidecars, "bundle": { "resources": resources } });
            assert_eq!(look_for(&config, None, &[]).files.len(), 1, "{resources}");
        }
    }
}
