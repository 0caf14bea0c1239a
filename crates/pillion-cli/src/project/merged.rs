//! What the configuration of one platform says.

use serde_json::{Map, Value};

use super::{
    Document, Platform, ProjectError, TargetTriple,
    document::{self},
    resources::Resource,
};

/// The configuration of one platform, after merging.
#[derive(Debug)]
pub(crate) struct MergedConfig<'a> {
    pub(crate) platform: Platform,
    pub(crate) value: Value,
    pub(super) base: &'a Document,
    /// The platform's own file.
    pub(super) own: Option<&'a Document>,
}

/// A declaration in `plugins.pillion.sidecars`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeclaredSidecar {
    pub(crate) name: String,
    pub(crate) program: SidecarProgram,
    /// All fields of the declaration. docs/configuration.md describes them.
    pub(crate) fields: Map<String, Value>,
}

/// Where the program of a sidecar comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SidecarProgram {
    /// A program beside the app's own: `file` is its name without target triple and suffix, `entry` the entry of
    /// `bundle.externalBin` that installs it, if one does.
    External { file: String, entry: Option<String> },
    /// A file of the bundle's resources, by its path in the resource folder.
    Resource(String),
    /// A program of the system.
    System(String),
}

impl DeclaredSidecar {
    /// A field with a string.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// Whether the sidecar demands a token; declared by `private`, `true` by default.
    pub(crate) fn private(&self) -> bool {
        self.fields.get("private").and_then(Value::as_bool).unwrap_or(true)
    }

    /// Whether the app proxies the page's requests: `"transport": "local"`.
    pub(crate) fn local(&self) -> bool {
        self.text("transport") == Some("local")
    }
}

impl MergedConfig<'_> {
    /// The value below these keys; see [`Document::get`].
    pub(crate) fn get(&self, keys: &[&str]) -> Option<&Value> {
        document::get(&self.value, keys)
    }

    /// The file that decides about the value below these keys: the platform's own one if it has the value.
    pub(crate) fn file_of(&self, keys: &[&str]) -> &Document {
        self.own.filter(|own| own.get(keys).is_some()).unwrap_or(self.base)
    }

    /// An error about the value below these keys, at its position.
    pub(crate) fn error(&self, keys: &[&str], message: impl Into<String>) -> ProjectError {
        self.file_of(keys).error(keys, message)
    }

    /// The entries of `bundle.externalBin`: paths relative to the folder of the configuration, without target triple and suffix.
    ///
    /// # Errors
    ///
    /// Fails if it is not a list of strings.
    pub(crate) fn external_bin(&self) -> Result<Vec<String>, ProjectError> {
        self.strings(&["bundle", "externalBin"])
    }

    /// Whether `tauri build` makes a bundle of this type, such as `appimage`, where its system can
    /// (<https://v2.tauri.app/reference/config/#bundletarget>).
    pub(crate) fn bundles(&self, kind: &str) -> bool {
        let active = self.get(&["bundle", "active"]).and_then(Value::as_bool).unwrap_or(false);
        active
            && match self.get(&["bundle", "targets"]) {
                None | Some(Value::Null) => true,
                Some(Value::String(target)) => target == "all" || target == kind,
                Some(Value::Array(targets)) => targets.iter().any(|target| target == kind || target == "all"),
                Some(_) => false,
            }
    }

    /// Whether `tauri build` makes the files of the updater (<https://v2.tauri.app/plugin/updater/>).
    pub(crate) fn creates_updates(&self) -> bool {
        let value = self.get(&["bundle", "createUpdaterArtifacts"]);
        value.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)))
    }

    /// The bundles for Linux without AppImage, whose tool strips each program: Node and Bun break. `None` if AppImage is not among the
    /// bundles, or is the only one.
    pub(crate) fn bundles_without_app_image(&self) -> Option<Vec<&'static str>> {
        let left: Vec<_> = ["deb", "rpm"].into_iter().filter(|kind| self.bundles(kind)).collect();
        (self.bundles("appimage") && !left.is_empty()).then_some(left)
    }

    /// The files that Tauri demands for an entry of `bundle.externalBin`, one for each target. The file for
    /// `universal-apple-darwin` needs both others besides, as Tauri builds each half of the app.
    pub(crate) fn external_file(entry: &str, target: &TargetTriple) -> String {
        format!("{entry}-{target}{}", target.executable_suffix())
    }

    /// The entries of `bundle.resources`.
    ///
    /// # Errors
    ///
    /// Fails if it is neither a list of strings nor an object with strings.
    pub(crate) fn resources(&self) -> Result<Vec<Resource>, ProjectError> {
        let keys = ["bundle", "resources"];
        match self.get(&keys) {
            Some(Value::Object(map)) => map
                .iter()
                .map(|(source, target)| match target {
                    Value::String(target) => {
                        Ok(Resource { source: source.clone(), target: Some(target.clone()) })
                    }
                    _ => Err(self.error(
                        &["bundle", "resources", source],
                        "bundle.resources must map each source to a string",
                    )),
                })
                .collect(),
            _ => {
                Ok(self.strings(&keys)?.into_iter().map(|source| Resource { source, target: None }).collect())
            }
        }
    }

    /// A command of `build`, such as `beforeDevCommand`, which Tauri runs in the folder of the page's package.
    pub(crate) fn build_command(&self, name: &str) -> Option<&str> {
        let command = self.get(&["build", name])?;
        command.as_str().or_else(|| command.get("script")?.as_str())
    }

    /// The declared sidecars, in the order of their names; `None` without the section `plugins.pillion`.
    ///
    /// # Errors
    ///
    /// Fails if the section or a declaration is not an object, or a program is not named by a string.
    pub(crate) fn sidecars(&self) -> Result<Option<Vec<DeclaredSidecar>>, ProjectError> {
        let section = ["plugins", "pillion"];
        let Some(pillion) = self.get(&section) else { return Ok(None) };
        let keys = ["plugins", "pillion", "sidecars"];
        let sidecars = pillion.get("sidecars").and_then(Value::as_object).ok_or_else(|| {
            self.error(
                &keys,
                "plugins.pillion needs the object `sidecars`: write { \"sidecars\": { \"backend\": {} } }",
            )
        })?;
        let external = self.external_bin()?;
        let declared = sidecars.iter().map(|(name, fields)| {
            let keys = ["plugins", "pillion", "sidecars", name];
            let fields = fields.as_object().ok_or_else(|| {
                self.error(
                    &keys,
                    format!("the declaration of the sidecar {name} must be an object: write {{}}"),
                )
            })?;
            let program = self.program(name, fields, &external)?;
            Ok(DeclaredSidecar { name: name.clone(), program, fields: fields.clone() })
        });
        declared.collect::<Result<Vec<_>, _>>().map(Some)
    }

    fn program(
        &self,
        name: &str,
        fields: &Map<String, Value>,
        external: &[String],
    ) -> Result<SidecarProgram, ProjectError> {
        let text = |field: &str| match fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.error(
                &["plugins", "pillion", "sidecars", name, field],
                format!("`{field}` of the sidecar {name} must be a string"),
            )),
        };
        if let Some(resource) = text("resource")? {
            return Ok(SidecarProgram::Resource(resource));
        }
        if let Some(command) = text("command")? {
            return Ok(SidecarProgram::System(command));
        }
        let file = text("program")?.unwrap_or_else(|| name.to_owned());
        let entry = external.iter().find(|entry| last_part(entry) == file).cloned();
        Ok(SidecarProgram::External { file, entry })
    }

    /// A list of strings; an empty one if the value is missing.
    fn strings(&self, keys: &[&str]) -> Result<Vec<String>, ProjectError> {
        let name = keys.join(".");
        let elements = match self.get(keys) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(elements)) => elements,
            Some(_) => return Err(self.error(keys, format!("{name} must be a list of strings"))),
        };
        let text = |(index, element): (usize, &Value)| {
            element.as_str().map(str::to_owned).ok_or_else(|| {
                let index = index.to_string();
                let keys: Vec<_> = keys.iter().copied().chain([index.as_str()]).collect();
                self.error(&keys, format!("{name}[{index}] must be a string"))
            })
        };
        elements.iter().enumerate().map(text).collect()
    }
}

/// The last part of a path, such as an entry of `bundle.externalBin`: the name under which Tauri installs the program.
pub(crate) fn last_part(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}
