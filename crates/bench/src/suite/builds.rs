//! The time and size that the plugin adds to a stock Tauri app, and the time from an edit of `pillion` to the verdict of its tests.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Effort, Section,
    backends::mib,
    build::Workspace,
    progress,
    report::{Samples, Table},
};

pub(crate) const SECTIONS: [Section; 2] = [
    ("Builds: a stock Tauri app, and the same with the plugin", adopter),
    ("Builds: from an edit of `pillion` to the verdict of its tests", developer),
];

/// The crates of this repository that the plugin consists of. They are in no registry yet.
const CRATES: [&str; 7] = [
    "pillion",
    "pillion-build",
    "pillion-config",
    "pillion-control",
    "pillion-guard",
    "pillion-protocol",
    "tauri-plugin-pillion",
];
/// Tauri's own template without a bundler, as `pillion new` calls it.
const TEMPLATE: [&str; 7] = [
    "--yes",
    "create-tauri-app@4",
    "stock",
    "--yes",
    "--template=vanilla",
    "--manager=npm",
    "--identifier=com.example.stock",
];

/// The ticks of a second in /proc: `USER_HZ` is part of the interface of Linux, whatever the frequency of its clock (time(7)).
const TICKS: f64 = 100.0;

/// What a build took.
#[derive(Debug, Clone, Copy)]
struct Took {
    /// The CPU time of all its processes, user and system.
    cpu_seconds: f64,
    seconds: f64,
    /// The packages that cargo compiled.
    packages: usize,
}

fn adopter(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let pillion = workspace.programs()?.pillion;
    // Outside of this repository, whose workspace would take an app for a part of it.
    let folder = tempfile::tempdir()?;
    run(Command::new("npx").args(TEMPLATE).current_dir(&folder))?;
    let ours = ["new", "ours", "--template", "vanilla", "--backend", "rust", "--manager", "npm"];
    run(Command::new(pillion).args(ours).current_dir(&folder))?;
    use_crates(&folder.path().join("ours/src-tauri/Cargo.toml"), &workspace.root)?;

    let cores = thread::available_parallelism()?;
    let mut table = Table::new(["stock app", "with the plugin"]);
    let mut sizes = [Samples::new(), Samples::new()];
    let profiles: &[&str] = if effort.release_builds { &["dev", "release"] } else { &["dev"] };
    for profile in profiles {
        let mut cpu = [Samples::new(), Samples::new()];
        let mut elapsed = [Samples::new(), Samples::new()];
        let mut packages = [Samples::new(), Samples::new()];
        // A second time in the other order, where that takes minutes alone: a machine has quick and slow minutes.
        let turns = if *profile == "dev" { 4 } else { 2 };
        for (index, app) in [(0, "stock"), (1, "ours"), (1, "ours"), (0, "stock")].into_iter().take(turns) {
            let source = folder.path().join(app).join("src-tauri");
            let target = folder.path().join("target");
            run(cargo(&source, &target).arg("fetch"))?;
            progress(&format!("building: {app}, {profile}"));
            let profile_option = format!("--profile={profile}");
            // The feature that `tauri build` adds: the app contains its page.
            let options = ["build", "--features=tauri/custom-protocol", &profile_option];
            let build = timed(cargo(&source, &target).args(options))?;
            cpu[index].push(build.cpu_seconds);
            elapsed[index].push(build.seconds);
            #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
            packages[index].push(build.packages as f64);
            if *profile == "release" {
                sizes[index].push(mib(fs::metadata(target.join("release").join(app))?.len()));
            }
            // The next build is a clean one as well, and one target folder takes a gigabyte and more.
            fs::remove_dir_all(&target)?;
        }
        table.row(format!("clean build, profile {profile}: CPU time"), "s", cpu);
        table.row(format!("clean build, profile {profile}: elapsed, {cores} cores"), "s", elapsed);
        table.row(format!("clean build, profile {profile}: compiled packages"), "number", packages);
    }
    table.row("size of the app's program", "MiB", sizes);
    table.note(
        "Tauri's template `vanilla`, and `pillion new` with the same template. CPU time, user and system, of cargo and all that it starts, \
         without downloads: it depends little on other load and on the number of cores. The elapsed time depends on both. The release profile \
         is that of the template.",
    );
    Ok(table)
}

fn developer(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let test = ["test", "--quiet", "--package", "pillion", "--lib"];
    let command = |options: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(test).args(options).current_dir(&workspace.root);
        command
    };
    run(&mut command(&["--no-run"]))?;
    let [mut build, mut tests] = [Samples::new(), Samples::new()];
    let [mut build_cpu, mut tests_cpu] = [Samples::new(), Samples::new()];
    for _ in 0..effort.rounds {
        // Cargo compiles a crate anew if a file of it is newer than its result.
        let file = fs::File::options().append(true).open(workspace.root.join("crates/pillion/src/lib.rs"))?;
        #[expect(clippy::disallowed_methods, reason = "the time of a file is that of the wall clock")]
        file.set_modified(std::time::SystemTime::now())?;
        let took = timed(&mut command(&["--no-run"]))?;
        build.push(took.seconds);
        build_cpu.push(took.cpu_seconds);
        let took = timed(&mut command(&[]))?;
        tests.push(took.seconds);
        tests_cpu.push(took.cpu_seconds);
    }
    let mut table = Table::new(["compile", "run"]);
    table.row("the unit tests of `pillion` after an edit of it: elapsed", "s", [build, tests]);
    table.row("… CPU time", "s", [build_cpu, tests_cpu]);
    table.note("`cargo test --package pillion --lib`, after all was compiled and `src/lib.rs` was touched.");
    Ok(table)
}

/// Lets an app use the crates of this repository instead of those of the registry.
fn use_crates(manifest: &Path, root: &Path) -> Result<()> {
    let mut text = fs::read_to_string(manifest)?;
    text += "\n[patch.crates-io]\n";
    for name in CRATES {
        text +=
            &format!("{name} = {{ path = {:?} }}\n", root.join("crates").join(name).display().to_string());
    }
    Ok(fs::write(manifest, text)?)
}

/// Cargo for an app, without what the environment of this process sets for this repository.
fn cargo(source: &Path, target: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(source).env("CARGO_TARGET_DIR", target);
    for variable in ["CARGO_INCREMENTAL", "RUSTC_WRAPPER", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command
}

/// Runs a command, and returns its stderr.
fn run(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", text.trim());
    Ok(text.into_owned())
}

fn timed(command: &mut Command) -> Result<Took> {
    let (begun, used) = (Instant::now(), children_cpu_seconds()?);
    let words = run(command)?;
    Ok(Took {
        cpu_seconds: children_cpu_seconds()? - used,
        seconds: begun.elapsed().as_secs_f64(),
        packages: words.lines().filter(|line| line.trim_start().starts_with("Compiling ")).count(),
    })
}

/// The CPU time of all children that have ended, and of their descendants: `cutime` and `cstime` of `proc_pid_stat(5)`.
fn children_cpu_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in parentheses, can contain blanks. The fields after it begin with the third.
    let (_, fields) = text.rsplit_once(") ").context("no name in /proc/self/stat")?;
    let ticks: Vec<u32> = fields.split(' ').skip(13).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(f64::from(ticks.iter().sum::<u32>()) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_child_and_its_child_is_counted() {
        let busy = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";
        let took = timed(Command::new("sh").args(["-c", &format!("({busy}); sh -c '{busy}'")])).unwrap();
        assert!(took.cpu_seconds > 0.0, "{took:?}");
    }

    #[test]
    fn the_error_of_a_command_has_its_words() {
        let error = run(Command::new("sh").args(["-c", "echo because >&2; exit 1"])).unwrap_err();
        assert!(error.to_string().ends_with("failed: because"), "{error}");
    }
}
