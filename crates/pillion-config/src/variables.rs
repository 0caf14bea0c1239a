//! The variables of a declaration, which stand for folders: `$APPDATA` and others.
//!
//! `pillion` itself expands what is only known at a start, such as `${port}`, and turns `$$` into a dollar sign.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::ConfigError;

/// The folders by the name of their variable.
#[derive(Debug, Clone, Default)]
pub struct Variables(BTreeMap<&'static str, Folder>);

#[derive(Debug, Clone)]
struct Folder {
    path: PathBuf,
    /// Whether the folder belongs to the app, which then may create it.
    of_app: bool,
}

/// The names of the variables. The first ones are folders of the app.
const NAMES: [&str; 8] =
    ["APPDATA", "APPLOCALDATA", "APPCONFIG", "APPCACHE", "APPLOG", "RESOURCE", "TEMP", "HOME"];

impl Variables {
    /// The variables of an app: the folders of the app itself, which are created when a declaration names them, and the others.
    #[must_use]
    pub fn new(
        of_app: impl IntoIterator<Item = (&'static str, PathBuf)>,
        of_others: impl IntoIterator<Item = (&'static str, PathBuf)>,
    ) -> Self {
        let of_app = of_app.into_iter().map(|(name, path)| (name, Folder { path, of_app: true }));
        let of_others = of_others.into_iter().map(|(name, path)| (name, Folder { path, of_app: false }));
        Self(of_app.chain(of_others).collect())
    }

    /// All variables, each standing for a path that is its own name: for a check without an app. No folder is created.
    pub(crate) fn names_only() -> Self {
        Self::new([], NAMES.map(|name| (name, Path::new("/").join(name))))
    }

    /// The folder of this variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(|folder| folder.path.as_path())
    }

    /// Replaces the variables in `text`, which is the `field` of the declaration of `sidecar`. Creates the app's folders that it
    /// names.
    ///
    /// # Errors
    /// An unknown variable, or a folder that cannot be created.
    pub fn expand(&self, text: &str, sidecar: &str, field: &str) -> Result<String, ConfigError> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, after) = rest.split_at(dollar);
            expanded += before;
            let after = &after[1..];
            if let Some(after) = after.strip_prefix('$') {
                expanded += "$$";
                rest = after;
                continue;
            }
            let length = after.find(|c: char| !(c.is_ascii_uppercase() || c == '_')).unwrap_or(after.len());
            let (name, after) = after.split_at(length);
            if name.is_empty() {
                expanded.push('$');
            } else {
                let folder = self.0.get(name).ok_or_else(|| self.unknown(name, sidecar, field))?;
                if folder.of_app {
                    create(&folder.path)
                        .map_err(|error| cannot_create(&folder.path, sidecar, field, &error))?;
                }
                expanded += &folder.path.to_string_lossy().replace('$', "$$");
            }
            rest = after;
        }
        Ok(expanded + rest)
    }

    /// As [`expand`](Self::expand), for each element of a list.
    ///
    /// # Errors
    /// As [`expand`](Self::expand).
    pub fn expand_all(
        &self,
        texts: &[String],
        sidecar: &str,
        field: &str,
    ) -> Result<Vec<String>, ConfigError> {
        texts.iter().map(|text| self.expand(text, sidecar, field)).collect()
    }

    /// The path in this text: it is used here, so that a dollar sign in it is one.
    ///
    /// # Errors
    /// As [`expand`](Self::expand).
    pub fn path(&self, text: &str, sidecar: &str, field: &str) -> Result<PathBuf, ConfigError> {
        Ok(self.expand(text, sidecar, field)?.replace("$$", "$").into())
    }

    /// As [`path`](Self::path), for a folder. Creates it if it is missing and inside a folder of the app.
    ///
    /// # Errors
    /// As [`expand`](Self::expand).
    pub fn folder(&self, text: &str, sidecar: &str, field: &str) -> Result<PathBuf, ConfigError> {
        let path = self.path(text, sidecar, field)?;
        if self.0.values().any(|folder| folder.of_app && path.starts_with(&folder.path)) {
            create(&path).map_err(|error| cannot_create(&path, sidecar, field, &error))?;
        }
        Ok(path)
    }

    fn unknown(&self, name: &str, sidecar: &str, field: &str) -> ConfigError {
        let known: Vec<_> = self.0.keys().map(|name| format!("${name}")).collect();
        ConfigError::UnknownVariable {
            sidecar: sidecar.to_owned(),
            field: field.to_owned(),
            name: name.to_owned(),
            known: known.join(", "),
        }
    }
}

/// Creates the folder and its parents if they are missing. Only the user can open what is created.
fn create(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

fn cannot_create(folder: &Path, sidecar: &str, field: &str, error: &io::Error) -> ConfigError {
    ConfigError::Folder {
        sidecar: sidecar.to_owned(),
        field: field.to_owned(),
        folder: folder.display().to_string(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(folder: &Path) -> Variables {
        let data = Folder { path: folder.join("da$ta"), of_app: true };
        let home = Folder { path: folder.join("home"), of_app: false };
        Variables(BTreeMap::from([("APPDATA", data), ("HOME", home)]))
    }

    fn expand(folder: &Path, text: &str) -> Result<String, String> {
        variables(folder).expand(text, "api", "args").map_err(|error| error.to_string())
    }

    #[test]
    fn variables_are_replaced_wherever_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let [data, home] = ["da$$ta", "home"].map(|name| folder.path().join(name).display().to_string());
        for (text, expanded) in [
            ("plain", "plain".to_owned()),
            ("$HOME", home.clone()),
            ("--data=$APPDATA/db:$HOME/x", format!("--data={data}/db:{home}/x")),
            // `pillion` expands these.
            ("--port=${port} $$HOME $ $1", "--port=${port} $$HOME $ $1".to_owned()),
        ] {
            assert_eq!(expand(folder.path(), text), Ok(expanded));
        }
    }

    #[test]
    fn an_unknown_variable_is_an_error_that_lists_the_known_ones() {
        let folder = tempfile::tempdir().unwrap();
        let error = expand(folder.path(), "a/$APP_DATA").unwrap_err();
        assert!(error.contains("plugins.pillion.sidecars.api.args contains $APP_DATA"), "{error}");
        assert!(error.contains("$APPDATA, $HOME"), "{error}");
    }

    #[test]
    fn only_folders_of_the_app_are_created() {
        let folder = tempfile::tempdir().unwrap();
        let variables = variables(folder.path());
        variables.folder("$HOME/a", "api", "cwd").unwrap();
        assert!(!folder.path().join("home").exists());
        let nested = variables.folder("$APPDATA/a/b", "api", "cwd").unwrap();
        assert_eq!(nested, folder.path().join("da$ta/a/b"));
        assert!(nested.is_dir());
        #[cfg(unix)]
        for folder in [&nested, nested.parent().unwrap(), &folder.path().join("da$ta")] {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_created_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("da$ta"), "").unwrap();
        let error = expand(folder.path(), "$APPDATA/db").unwrap_err();
        assert!(error.contains("da$ta") && error.contains("cannot be created"), "{error}");
    }
}
