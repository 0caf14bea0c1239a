//! Builds with [PyInstaller], which packs the server with the interpreter of this machine, and so only for this machine's system.
//!
//! [PyInstaller]: https://pyinstaller.org

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Artifact, Built, Inputs, Order, elsewhere, files_above};
use crate::package::{
    process::{Failure, find, read, run},
    target::runs_here,
};

const PROJECT_FILES: [&str; 6] =
    ["pyproject.toml", "requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock", "setup.py"];
/// The names of the interpreter on the `PATH`. On Windows its installer makes `python.exe` alone, and `python3.exe` often is a program of the
/// system, which only opens the Microsoft Store.
const NAMES: [&str; 2] = if cfg!(windows) { ["python", "python3"] } else { ["python3", "python"] };
/// Prints the interpreter and the installed packages, with their versions.
const DESCRIBE: &str = "import importlib.metadata as m, sys\n\
    print(sys.version, sorted({(d.name, d.version) for d in m.distributions()}, key=str))";

pub(super) fn fingerprint(order: &Order<'_>, main: &str) -> Result<String, Failure> {
    let main = order.path("python", main)?;
    let python = interpreter(order, &main)?;
    let described = read(Command::new(&python).args(["-c", DESCRIBE]))?;
    if described.to_lowercase().contains("'pyinstaller'") {
        return Ok(described);
    }
    Err(Failure::refused(format!(
        "{} has no PyInstaller: install it beside the server's packages with `{} -m pip install pyinstaller`",
        python.display(),
        python.display()
    )))
}

pub(super) fn build(order: &Order<'_>, main: &str, onedir: bool) -> Result<Built, Failure> {
    let main = order.path("python", main)?;
    let python = interpreter(order, &main)?;
    (order.progress)(if onedir { "pyinstaller --onedir" } else { "pyinstaller --onefile" });
    let dist = order.work.join("dist");
    run(Command::new(python)
        .current_dir(order.root)
        .args(["-m", "PyInstaller", "--noconfirm", "--log-level", "WARN"])
        .arg(if onedir { "--onedir" } else { "--onefile" })
        .args(["--name", order.program])
        .arg("--distpath")
        .arg(&dist)
        .arg("--workpath")
        .arg(order.work.join("pyinstaller"))
        .arg("--specpath")
        .arg(order.work)
        .args(&order.config.args)
        .arg(&main))?;
    let file = format!("{}{}", order.program, order.target.executable_suffix());
    let artifact = if onedir {
        let folder = dist.join(order.program);
        Artifact::Folder { program: folder.join(&file), folder }
    } else {
        Artifact::File(dist.join(&file))
    };
    let folder = main.parent().unwrap_or(&main).to_owned();
    let inputs = Inputs {
        files: files_above(&folder, &PROJECT_FILES),
        tool_folders: vec![folder],
        ..Inputs::default()
    };
    Ok(Built { artifact, inputs, embeds_runtime: false })
}

/// The interpreter of the virtual environment beside the server or above it, up to the project; otherwise that on the `PATH`.
fn interpreter(order: &Order<'_>, main: &Path) -> Result<PathBuf, Failure> {
    if !runs_here(order.target) {
        return Err(Failure::refused(format!(
            "PyInstaller packs for the system and the processor that it runs on, and this machine is not {}: {}",
            order.target,
            elsewhere(order.target)
        )));
    }
    let in_environment = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
    let environments =
        main.ancestors().skip(1).flat_map(|folder| [".venv", "venv"].map(|name| folder.join(name)));
    let own =
        environments.map(|environment| environment.join(in_environment)).find(|python| python.is_file());
    own.or_else(|| NAMES.into_iter().find_map(find)).ok_or_else(|| {
        Failure::refused(
            "Python is not installed: install it, or make a virtual environment .venv beside the server",
        )
    })
}
