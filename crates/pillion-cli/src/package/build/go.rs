//! Builds with `go build`, for each system and processor that Go knows. For another one than this machine's without cgo, which would
//! need a C compiler for it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Artifact, Built, Inputs, Order, files_above};
use crate::package::{
    process::{Failure, read, run},
    target::{runs_here, tool_names},
};

/// The folder of each package's module that is no versioned one: the module itself, and modules that are replaced by a folder.
const MODULES: &str = "{{with .Module}}{{if .Replace}}{{if not .Replace.Version}}{{.Dir}}{{end}}{{else if not .Version}}{{.Dir}}{{end}}{{end}}";

pub(super) fn fingerprint(order: &Order<'_>, folder: &str) -> Result<String, Failure> {
    let folder = order.path("go", folder)?;
    let mut go = go(order, &folder)?;
    read(go.args(["env", "GOVERSION", "GOFLAGS", "CGO_ENABLED", "GOAMD64", "GOARM64", "GOEXPERIMENT"]))
}

pub(super) fn build(order: &Order<'_>, folder: &str) -> Result<Built, Failure> {
    let folder = order.path("go", folder)?;
    (order.progress)("go build");
    let output = order.output();
    run(go(order, &folder)?
        // Without symbols for debuggers and without the paths of this machine.
        .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(&output)
        .args(&order.config.args)
        .arg("."))?;
    let modules = read(go(order, &folder)?.args(["list", "-deps", "-f", MODULES, "."]))?;
    let folders: BTreeSet<PathBuf> =
        modules.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect();
    let files = files_above(&folder, &["go.mod", "go.sum", "go.work", "go.work.sum"]);
    let inputs = Inputs { files, folders: folders.into_iter().collect(), ..Inputs::default() };
    Ok(Built { artifact: Artifact::File(output), inputs, embeds_runtime: false })
}

fn go(order: &Order<'_>, folder: &Path) -> Result<Command, Failure> {
    let Some(names) = tool_names(order.target) else {
        return Err(Failure::refused(format!("Go has no name for the target {}", order.target)));
    };
    let (system, processor) = names.go;
    let mut go = Command::new("go");
    go.current_dir(folder).env("GOOS", system).env("GOARCH", processor);
    if !runs_here(order.target) {
        go.env("CGO_ENABLED", "0");
    }
    Ok(go)
}
