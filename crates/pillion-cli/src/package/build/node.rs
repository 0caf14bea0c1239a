//! Builds a [single executable application] of Node: bundles the server into one file, and puts it into a copy of Node for the
//! target.
//!
//! The main file of such an application is CommonJS, which has no top-level await. A server with one is bundled as a module instead.
//! From Node 26 on, that module is the main file. Before, the main file loads it from a `data:` URL, which needs no file and may import
//! Node's own modules.
//!
//! [single executable application]: https://nodejs.org/api/single-executable-applications.html

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::{Artifact, Built, Inputs, Order, elsewhere, files_above};
use crate::{
    binary::{self, Content},
    package::{
        npm::{self, NpmCache},
        process::{Failure, find, run},
        target::{this_machine, tool_names},
    },
    project::{Platform, TargetTriple},
};

/// A version that npm has for each target.
const NODE: &str = "22.23.2";
const ESBUILD: &str = "0.28.2";
const POSTJECT: &str = "1.0.0-alpha.6";
/// From this major version on, Node itself makes the program (`--build-sea`). The main file can be a module (`mainFormat`), and can
/// import nothing but Node's own modules at run time, so that it cannot load one.
const BUILDS_ITSELF: u32 = 26;
/// Marks where Node keeps the application: <https://github.com/nodejs/postject>.
const FUSE: &str = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";
const LOCK_FILES: [&str; 6] =
    ["package.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock", "tsconfig.json"];

/// In CommonJS, `import.meta` is empty, and in a `data:` URL it has no file. Its members then stand for the program.
const IMPORT_META: &str = "const __pillion_filename = process.execPath, \
    __pillion_dirname = require('node:path').dirname(__pillion_filename), \
    __pillion_url = require('node:url').pathToFileURL(__pillion_filename).href;";
/// Packages in CommonJS inside of a module need `require` for Node's own modules.
const REQUIRE: &str = "import { createRequire as __pillion_require } from 'node:module'; \
    const require = __pillion_require(process.execPath);";
/// The words of esbuild about what CommonJS cannot do.
const TOP_LEVEL_AWAIT: &str = "Top-level await";
/// The oldest major version whose applications can be modules, or load one from a `data:` URL.
const HAS_MODULES: u32 = 22;

pub(super) fn fingerprint(order: &Order<'_>, main: &str, version: Option<&str>) -> Result<String, Failure> {
    let main = order.path("node", main)?;
    package(order.target)?;
    let version = version.unwrap_or(NODE);
    Ok(match npm::installed("esbuild", &main) {
        Some(own) => format!("node {version}, esbuild {:?} of the project", npm::version(&own)),
        None => format!("node {version}, esbuild {ESBUILD}, postject {POSTJECT}"),
    })
}

pub(super) fn build(order: &Order<'_>, main: &str, version: Option<&str>) -> Result<Built, Failure> {
    let main = order.path("node", main)?;
    let version = version.unwrap_or(NODE);
    // The application must be prepared by the very version that runs it.
    let here = runtime(order, package(&this_machine())?, version, &this_machine())?;
    let major = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    let (bundle, format, inputs) = bundle(order, &main, major)?;
    let runtime = runtime(order, package(order.target)?, version, order.target)?;
    let runtime = stripped(order, &runtime);
    let output = order.output();
    let (config, blob) = (order.work.join("sea.json"), order.work.join("application.blob"));
    let mut settings = json!({
        "main": bundle,
        "output": blob,
        "disableExperimentalSEAWarning": true,
        // Both are for the processor and the version that prepared them alone.
        "useCodeCache": false,
        "useSnapshot": false,
    });
    if major >= BUILDS_ITSELF {
        settings["output"] = json!(output);
        settings["executable"] = json!(runtime);
        settings["mainFormat"] = json!(format.name_for_node());
    }
    fs::write(&config, settings.to_string()).map_err(Failure::file("write", &config))?;
    (order.progress)(&format!("putting the bundle into Node {version}"));
    if major >= BUILDS_ITSELF {
        run(Command::new(&here).arg("--build-sea").arg(&config))?;
    } else {
        run(Command::new(&here).arg("--experimental-sea-config").arg(&config))?;
        fs::copy(&runtime, &output).map_err(Failure::file("write", &output))?;
        inject(order, &here, &output, &blob)?;
    }
    Ok(Built { artifact: Artifact::File(output), inputs, embeds_runtime: true })
}

/// The npm package with Node for the target.
fn package(target: &TargetTriple) -> Result<&'static str, Failure> {
    tool_names(target).and_then(|names| names.node_package).ok_or_else(|| {
        Failure::refused(format!(
            "npm has no Node program for {target}: it has those for Linux (glibc) and macOS on x86_64 and aarch64, and for \
             Windows on x86_64. Write the server for Bun (`\"bun\"`), which has more targets"
        ))
    })
}

/// The program of Node for a target.
fn runtime(
    order: &Order<'_>,
    package: &str,
    version: &str,
    target: &TargetTriple,
) -> Result<PathBuf, Failure> {
    (order.progress)(&format!("getting {package} {version}"));
    let folder = order.npm.package(package, version)?;
    let program = folder.join("bin").join(format!("node{}", target.executable_suffix()));
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::failed(format!(
        "the npm package {package} {version} has no program at {}: choose another nodeVersion, or {}",
        program.display(),
        elsewhere(target)
    )))
}

/// How the server is bundled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModuleFormat {
    CommonJs,
    Module,
}

impl ModuleFormat {
    fn name_for_node(self) -> &'static str {
        match self {
            Self::CommonJs => "commonjs",
            Self::Module => "module",
        }
    }
}

/// Bundles the server to one file. Returns it with its format and the files that it was made of.
fn bundle(order: &Order<'_>, main: &Path, major: u32) -> Result<(PathBuf, ModuleFormat, Inputs), Failure> {
    let esbuild = esbuild(order.npm, main)?;
    (order.progress)("bundling with esbuild");
    let bundle = order.work.join("bundle.cjs");
    match esbuild_to(&bundle, ModuleFormat::CommonJs, &esbuild, order, main, major) {
        Err(failure) if major >= HAS_MODULES && failure.to_string().contains(TOP_LEVEL_AWAIT) => {
            let module = order.work.join("bundle.mjs");
            let inputs = esbuild_to(&module, ModuleFormat::Module, &esbuild, order, main, major)?;
            if major >= BUILDS_ITSELF {
                return Ok((module, ModuleFormat::Module, inputs));
            }
            let source = fs::read_to_string(&module).map_err(Failure::file("read", &module))?;
            fs::write(&bundle, loader(&source, order.program)).map_err(Failure::file("write", &bundle))?;
            Ok((bundle, ModuleFormat::CommonJs, inputs))
        }
        inputs => inputs.map(|inputs| (bundle, ModuleFormat::CommonJs, inputs)),
    }
}

/// A script of CommonJS that loads the module. Its errors and stack traces have the name of the program instead of the long URL.
fn loader(module: &str, program: &str) -> String {
    let source = format!("{module}\n//# sourceURL={program}.mjs\n");
    // A string of JSON is one of JavaScript.
    format!(
        "import(\"data:text/javascript;base64,\" + Buffer.from({}).toString(\"base64\"));\n",
        Value::String(source)
    )
}

fn esbuild_to(
    bundle: &Path,
    format: ModuleFormat,
    esbuild: &Path,
    order: &Order<'_>,
    main: &Path,
    major: u32,
) -> Result<Inputs, Failure> {
    let list = order.work.join("bundle.json");
    // The list of inputs has paths relative to the real folder.
    let root = order.path("node", ".")?;
    let (name, banner) = match format {
        ModuleFormat::CommonJs => ("cjs", IMPORT_META.to_owned()),
        ModuleFormat::Module => ("esm", format!("{REQUIRE}{IMPORT_META}")),
    };
    let mut command = Command::new(esbuild);
    command
        .current_dir(&root)
        .env("PWD", &root)
        .arg(main)
        .args(["--bundle", "--platform=node", "--log-level=warning", "--color=false"])
        .args([format!("--format={name}"), format!("--target=node{major}"), format!("--banner:js={banner}")])
        .args(
            ["filename", "dirname", "url"]
                .map(|name| format!("--define:import.meta.{name}=__pillion_{name}")),
        )
        .arg(format!("--outfile={}", bundle.display()))
        .arg(format!("--metafile={}", list.display()))
        .args(&order.config.args);
    run(&mut command).map_err(|failure| {
        let message = failure.to_string();
        let cure = cure(&message);
        Failure::failed(message + cure)
    })?;
    let text = fs::read(&list).map_err(Failure::file("read", &list))?;
    let metafile: Value = serde_json::from_slice(&text)
        .map_err(|error| Failure::failed(format!("{} is no JSON: {error}", list.display())))?;
    let mut files = files_above(main.parent().unwrap_or(main), &LOCK_FILES);
    let bundled = metafile["inputs"].as_object().into_iter().flat_map(serde_json::Map::keys);
    // Besides files, the list names modules that esbuild made up, such as `(disabled):fs`.
    files.extend(bundled.filter_map(|input| dunce::canonicalize(root.join(input)).ok()));
    if !files.iter().any(|file| file == main) {
        return Err(Failure::failed(format!(
            "esbuild's list of inputs, {}, does not contain {}: choose another version of esbuild",
            list.display(),
            main.display()
        )));
    }
    Ok(Inputs { files, ..Inputs::default() })
}

/// What to change after this message of esbuild.
fn cure(message: &str) -> &'static str {
    if message.contains(TOP_LEVEL_AWAIT) {
        "\nWith this version of Node, a single executable application has no top-level await: put it into an async function, or \
         choose nodeVersion 22 or later"
    } else if message.contains(".node") {
        "\nA single executable application cannot contain native modules: use a package without them, or another runtime, or ship \
         Node and the folder of the server (docs/package.md, \"A Node server that cannot be one file\")"
    } else if message.contains("Could not resolve") {
        "\nInstall the package that is missing. If it is an optional one of another package, and the server runs without it, leave it out: \
         `\"args\": [\"--external:NAME\"]` in `package` of the declaration"
    } else {
        ""
    }
}

/// The program of esbuild: that of the project, or else one in the cache.
fn esbuild(cache: &NpmCache, main: &Path) -> Result<PathBuf, Failure> {
    let package = match npm::installed("esbuild", main) {
        Some(own) => own,
        None => cache.package("esbuild", ESBUILD)?,
    };
    let processor = match env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let file = match Platform::host() {
        Platform::Linux => format!("linux-{processor}/bin/esbuild"),
        Platform::MacOs => format!("darwin-{processor}/bin/esbuild"),
        Platform::Windows => format!("win32-{processor}/esbuild.exe"),
    };
    // The package beside it for this machine.
    let program = package.parent().unwrap_or(&package).join("@esbuild").join(file);
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::failed(format!(
        "esbuild has no program for this machine at {}: install your npm packages on this machine again, with optional dependencies",
        program.display()
    )))
}

/// Puts the application into the program.
fn inject(order: &Order<'_>, here: &Path, program: &Path, blob: &Path) -> Result<(), Failure> {
    let postject = order.npm.package("postject", POSTJECT)?.join("dist/cli.js");
    (order.progress)("putting the bundle into Node with postject");
    let segment =
        (order.target.platform() == Some(Platform::MacOs)).then_some(["--macho-segment-name", "NODE_SEA"]);
    run(Command::new(here)
        .arg(postject)
        .arg(program)
        .arg("NODE_SEA_BLOB")
        .arg(blob)
        .args(["--sentinel-fuse", FUSE])
        .args(segment.iter().flatten()))?;
    Ok(())
}

/// The program of Node without its symbols, if a tool for them is installed: 107 instead of 125 MB on Linux. Only before the
/// application is put in: afterwards, `strip` breaks the program.
fn stripped(order: &Order<'_>, runtime: &Path) -> PathBuf {
    let stripped = runtime.with_extension("stripped");
    if stripped.is_file() {
        return stripped;
    }
    let is_elf = fs::read(runtime).is_ok_and(|bytes| {
        matches!(binary::content(&bytes), Content::Native(native) if native.system == Platform::Linux)
    });
    let of_target = format!("{}-linux-gnu-strip", order.target.arch());
    let own = (order.target.arch() == env::consts::ARCH).then_some("strip");
    let tools = [own, Some(of_target.as_str()), Some("llvm-strip")];
    let Some(tool) = tools.into_iter().flatten().find_map(find).filter(|_| is_elf) else {
        return runtime.to_owned();
    };
    (order.progress)("stripping Node");
    // Complete under its final name, or not at all.
    let unfinished = stripped.with_extension(format!("stripped-{}", std::process::id()));
    let mut strip = Command::new(tool);
    let made = run(strip.arg("-o").arg(&unfinished).arg(runtime)).is_ok()
        && fs::rename(&unfinished, &stripped).is_ok();
    if made { stripped } else { runtime.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cure_is_that_of_the_message() {
        for (message, words) in [
            ("Top-level await is currently not supported with the \"cjs\" output format", "nodeVersion"),
            ("No loader is configured for \".node\" files: a.node", "cannot contain native modules"),
            ("Could not resolve \"class-validator\"", "\"--external:NAME\""),
        ] {
            assert!(cure(message).contains(words), "{message}");
        }
        assert_eq!(cure("Unexpected \"}\""), "");
    }
}
