//! Launchers: programs in front of a server, which pass signals on to it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
};

use crate::helper_program;

/// A launcher that the machine may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// `npm run`, with a shell between npm and the server.
    Npm,
    /// `pnpm run`.
    Pnpm,
    /// An init for containers, which passes each signal on to its child: <https://github.com/krallin/tini>.
    Tini,
    /// Another one, which passes each signal on to its child's session: <https://github.com/Yelp/dumb-init>.
    DumbInit,
    /// `uv run`, Python's package manager.
    Uv,
}

impl Launcher {
    /// All launchers.
    pub const ALL: [Self; 5] = [Self::Npm, Self::Pnpm, Self::Tini, Self::DumbInit, Self::Uv];

    /// The name of its program.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::Tini => "tini",
            Self::DumbInit => "dumb-init",
            Self::Uv => "uv",
        }
    }

    /// Whether the machine has it.
    #[must_use]
    pub fn is_installed(self) -> bool {
        find(self.program()).is_some()
    }

    /// The command line that starts the program at `server` by way of the launcher. The server's arguments follow.
    ///
    /// # Errors
    /// The launcher is not installed, or its folder cannot be written.
    pub fn command(self, server: &Path) -> io::Result<Vec<String>> {
        let name = self.program();
        let launcher = find(name).ok_or_else(|| io::Error::other(format!("{name} is not installed")))?;
        let [launcher, server] = [&*launcher, server].map(|path| path.to_string_lossy().into_owned());
        let words = |words: &[&str]| [&[&*launcher], words].concat().into_iter().map(str::to_owned).collect();
        Ok(match self {
            Self::Npm => words(&["run", "--silent", "--prefix", &package(&server)?, "server", "--"]),
            Self::Pnpm => words(&["--silent", "--dir", &package(&server)?, "run", "server"]),
            Self::Tini => words(&["--", &server]),
            Self::DumbInit => words(&["--", &server]),
            Self::Uv => words(&["run", "--offline", "--no-project", "--no-python-downloads", "--", &server]),
        })
    }
}

/// The program of this name on the `PATH`, or in the folder into which `cargo xtask test` installs launchers.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let installed = helper_program("fake-sidecar").ok().and_then(|built| {
        let target = built.ancestors().find(|folder| folder.join("tools").is_dir())?;
        Some(target.join("tools/launchers/bin"))
    });
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = installed.into_iter().chain(env::split_paths(&path));
    folders.find_map(|folder| Some(folder.join(program)).filter(|file| file.is_file()))
}

/// A folder with a package.json whose script `server` runs this program.
fn package(server: &str) -> io::Result<String> {
    let folder = helper_program("fake-sidecar")?.with_file_name("launchers");
    fs::create_dir_all(&folder)?;
    let text = format!(r#"{{ "private": true, "scripts": {{ "server": "{server}" }} }}"#);
    let file = folder.join("package.json");
    if !fs::read_to_string(&file).is_ok_and(|old| old == text) {
        // Several tests may write it at the same time.
        let new = folder.join(format!("package-{}.json", process::id()));
        fs::write(&new, text)?;
        fs::rename(new, file)?;
    }
    Ok(folder.to_string_lossy().into_owned())
}
