//! Placeholders in the declaration of a program: `${port}`, `${sidecar.NAME.port}`, `${sidecar.NAME.url}`.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    num::NonZeroU16,
    path::PathBuf,
};

use super::{ExecCheck, Listen, Program, ReadyCheck, Spec};

/// Why a placeholder has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPlaceholder {
    /// The placeholder has no closing brace.
    #[error("the placeholder {0:?} has no closing brace; write $$ for a dollar sign")]
    Unclosed(String),
    /// The placeholder has no meaning.
    #[error("the placeholder {placeholder} is unknown; known: {known}; write $$ for a dollar sign")]
    #[non_exhaustive]
    Unknown {
        /// The placeholder with its braces.
        placeholder: String,
        /// The placeholders that this declaration can use, separated by commas.
        known: String,
    },
    /// The port is not known when the program starts.
    #[error(
        "${{port}} is not known when the sidecar starts, because the sidecar announces its port: set `port` to \"assigned\" or to a \
         number"
    )]
    UnknownPort,
    /// The sidecar is not a dependency of this one.
    #[error(
        "{placeholder} needs the sidecar to be ready before: add {sidecar:?} to `dependsOn`, which has {depends_on}"
    )]
    #[non_exhaustive]
    NotADependency {
        /// The placeholder with its braces.
        placeholder: String,
        /// The name of the sidecar.
        sidecar: String,
        /// The names in `dependsOn`, separated by commas.
        depends_on: String,
    },
}

/// A part of a text with placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Port,
    PortOf(&'a str),
    UrlOf(&'a str),
    Unknown(&'a str),
}

/// What the placeholders stand for at one start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    pub(crate) port: Option<NonZeroU16>,
    pub(crate) dependencies: Vec<DependencyAddress>,
}

/// Where a dependency is reached now.
#[derive(Debug, Clone)]
pub(crate) struct DependencyAddress {
    pub(crate) name: String,
    pub(crate) port: Option<NonZeroU16>,
    pub(crate) url: Option<String>,
}

/// Cuts the text at its placeholders. An error is the placeholder that has no closing brace.
fn parts(text: &str) -> Result<Vec<Part<'_>>, &str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        parts.push(Part::Text(before));
        if let Some(after) = from.strip_prefix("$$") {
            parts.push(Part::Text("$"));
            rest = after;
        } else if let Some(open) = from.strip_prefix("${") {
            let (name, after) = open.split_once('}').ok_or(from)?;
            parts.push(Part::read(name));
            rest = after;
        } else {
            parts.push(Part::Text("$"));
            rest = &from[1..];
        }
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

impl<'a> Part<'a> {
    fn read(name: &'a str) -> Self {
        let of = |field| name.strip_prefix("sidecar.")?.strip_suffix(field);
        match (name, of(".port"), of(".url")) {
            ("port", ..) => Self::Port,
            (_, Some(sidecar), _) => Self::PortOf(sidecar),
            (_, _, Some(sidecar)) => Self::UrlOf(sidecar),
            _ => Self::Unknown(name),
        }
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text}"),
            Self::Port => write!(f, "${{port}}"),
            Self::PortOf(name) => write!(f, "${{sidecar.{name}.port}}"),
            Self::UrlOf(name) => write!(f, "${{sidecar.{name}.url}}"),
            Self::Unknown(name) => write!(f, "${{{name}}}"),
        }
    }
}

impl Program {
    /// The texts that may contain placeholders, with the names of their fields.
    fn texts<'a>(&'a self, check: &'a ReadyCheck) -> impl Iterator<Item = (&'static str, &'a OsStr)> {
        let args = self.args.iter().map(|arg| ("args", arg.as_os_str()));
        let env = self.env.values().map(|value| ("env", value.as_os_str()));
        let dir = self.current_dir.iter().map(|dir| ("cwd", dir.as_os_str()));
        let command = match check {
            ReadyCheck::Exec(ExecCheck { program, args }) => Some([program].into_iter().chain(args)),
            _ => None,
        };
        let command = command.into_iter().flatten().map(|word| ("ready", word.as_os_str()));
        args.chain(env).chain(dir).chain(command)
    }

    /// The placeholder by which the program gets the address of this sidecar, and that address, if it has one.
    pub(crate) fn told(&self, check: &ReadyCheck, of: &DependencyAddress) -> Option<(String, String)> {
        let texts = self.placeholders.then(|| self.texts(check).filter_map(|(_, text)| text.to_str()));
        let mut parts = texts.into_iter().flatten().filter_map(|text| parts(text).ok()).flatten();
        parts.find_map(|part| match part {
            Part::PortOf(name) if name == of.name => Some((part.to_string(), of.port?.to_string())),
            Part::UrlOf(name) if name == of.name => Some((part.to_string(), of.url.clone()?)),
            Part::Text(_) | Part::Port | Part::PortOf(_) | Part::UrlOf(_) | Part::Unknown(_) => None,
        })
    }

    /// Whether a placeholder tells the program its port.
    pub(super) fn shows_port(&self) -> bool {
        let shows = |text: &OsStr| {
            text.to_str().and_then(|text| parts(text).ok()).is_some_and(|parts| parts.contains(&Part::Port))
        };
        self.placeholders
            && self.texts(&ReadyCheck::Health).any(|(field, text)| field != "cwd" && shows(text))
    }

    /// This program and its check with the values instead of the placeholders. An error is a sentence.
    pub(crate) fn expanded(&self, check: &ReadyCheck, values: &Values) -> Result<(Self, ReadyCheck), String> {
        let (mut program, mut check) = (self.clone(), check.clone());
        if !self.placeholders {
            return Ok((program, check));
        }
        let expand = |text: &OsString| match text.to_str() {
            Some(text) => values.expand(text).map(OsString::from),
            None => Ok(text.clone()),
        };
        program.args = self.args.iter().map(expand).collect::<Result<_, _>>()?;
        for value in program.env.values_mut() {
            *value = expand(value)?;
        }
        if let Some(dir) = &self.current_dir {
            program.current_dir = Some(PathBuf::from(expand(&dir.clone().into_os_string())?));
        }
        if let ReadyCheck::Exec(command) = &mut check {
            command.program = expand(&command.program)?;
            command.args = command.args.iter().map(expand).collect::<Result<_, _>>()?;
        }
        Ok((program, check))
    }
}

impl Spec {
    /// Checks the placeholders of the program. The first error, with the field where it occurs.
    pub(super) fn validate_placeholders(
        &self,
        program: &Program,
    ) -> Result<(), (&'static str, InvalidPlaceholder)> {
        if !program.placeholders {
            return Ok(());
        }
        let known_port = program.listen != Listen::Announced;
        for (field, text) in program.texts(&self.ready_check) {
            // A text that is not Unicode is taken as it is.
            let Some(text) = text.to_str() else { continue };
            let parts = parts(text).map_err(|open| (field, InvalidPlaceholder::Unclosed(open.to_owned())))?;
            for part in parts {
                let is_dependency = |name: &str| self.dependencies().any(|dependency| dependency == name);
                let invalid = match part {
                    Part::Port if !known_port => InvalidPlaceholder::UnknownPort,
                    Part::PortOf(name) | Part::UrlOf(name) if !is_dependency(name) => {
                        InvalidPlaceholder::NotADependency {
                            placeholder: part.to_string(),
                            sidecar: name.to_owned(),
                            depends_on: list(self.dependencies().map(|name| format!("{name:?}"))),
                        }
                    }
                    Part::Unknown(_) => InvalidPlaceholder::Unknown {
                        placeholder: part.to_string(),
                        known: list(
                            known_port
                                .then(|| Part::Port.to_string())
                                .into_iter()
                                .chain(self.dependencies().flat_map(|name| of(name))),
                        ),
                    },
                    Part::Text(_) | Part::Port | Part::PortOf(_) | Part::UrlOf(_) => continue,
                };
                return Err((field, invalid));
            }
        }
        Ok(())
    }
}

/// The placeholders of a dependency.
fn of(name: &str) -> [String; 2] {
    [Part::PortOf(name).to_string(), Part::UrlOf(name).to_string()]
}

fn list(words: impl Iterator<Item = String>) -> String {
    let words: Vec<_> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

impl Values {
    fn expand(&self, text: &str) -> Result<String, String> {
        let parts = parts(text).map_err(|open| format!("the placeholder {open:?} has no closing brace"))?;
        parts.into_iter().map(|part| self.value(part)).collect()
    }

    fn value(&self, part: Part<'_>) -> Result<String, String> {
        let known = || {
            let port = self.port.map(|_| Part::Port.to_string());
            list(port.into_iter().chain(self.dependencies.iter().flat_map(|one| of(&one.name))))
        };
        let find = |name: &str| {
            let found = self.dependencies.iter().find(|dependency| dependency.name == name);
            found.ok_or_else(|| format!("{part} names no dependency of this sidecar; known: {}", known()))
        };
        let missing =
            |what: &str, name: &str| format!("{part} has no value, because {name} has no {what} now");
        match part {
            Part::Text(text) => Ok(text.to_owned()),
            Part::Port => self
                .port
                .map(|port| port.to_string())
                .ok_or_else(|| InvalidPlaceholder::UnknownPort.to_string()),
            Part::PortOf(name) => {
                let port = find(name)?.port.map(|port| port.to_string());
                port.ok_or_else(|| missing("port", name))
            }
            Part::UrlOf(name) => find(name)?.url.clone().ok_or_else(|| missing("URL", name)),
            Part::Unknown(_) => Err(format!("the placeholder {part} is unknown; known: {}", known())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let db = DependencyAddress {
            name: "my.db".to_owned(),
            port: NonZeroU16::new(5432),
            url: Some("http://127.0.0.1:5432".to_owned()),
        };
        let worker = DependencyAddress { name: "worker".to_owned(), port: None, url: None };
        Values { port: NonZeroU16::new(8080), dependencies: vec![db, worker] }
    }

    #[test]
    fn placeholders_stand_for_their_values() {
        for (text, expanded) in [
            ("", ""),
            ("--port=${port}", "--port=8080"),
            ("${port}${port}", "80808080"),
            ("${sidecar.my.db.port}/${sidecar.my.db.url}", "5432/http://127.0.0.1:5432"),
            ("$${port} costs $$5", "${port} costs $5"),
            ("$$$$ $HOME ^a$", "$$ $HOME ^a$"),
            ("$$${port}", "$8080"),
            ("}{ €${port}€", "}{ €8080€"),
        ] {
            assert_eq!(values().expand(text).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn a_placeholder_without_a_value_is_an_error_that_lists_what_exists() {
        for (text, parts) in [
            ("${", &["no closing brace"][..]),
            ("${port", &["\"${port\" has no closing brace"]),
            ("${HOME}", &["${HOME} is unknown", "${port}, ${sidecar.my.db.port}, ${sidecar.my.db.url}"]),
            ("${sidecar.my.db}", &["${sidecar.my.db} is unknown"]),
            ("${sidecar.other.port}", &["names no dependency", "${sidecar.worker.port}"]),
            ("${sidecar.worker.port}", &["worker has no port now"]),
            ("${sidecar.worker.url}", &["worker has no URL now"]),
        ] {
            let error = values().expand(text).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }

    #[test]
    fn a_declaration_is_checked_in_every_field() {
        let fixed = Listen::Fixed(NonZeroU16::MAX);
        let valid = |program: Program, check| {
            let spec = Spec::run("api", program.placeholders(true)).depends_on(["db"]).ready_check(check);
            spec.validate().map_err(|invalid| invalid.to_string())
        };
        let program = || Program::new("api").listen(fixed);
        let health = || ReadyCheck::Health;
        let used = "${port} ${sidecar.db.port} ${sidecar.db.url} $$ $";
        let all = program().arg(used).env("A", used).current_dir(used);
        assert_eq!(valid(all, ReadyCheck::Exec(ExecCheck::new(used).args([used]))), Ok(()));
        for (program, check, parts) in [
            (
                program().arg("${prot}"),
                health(),
                ["`args`", "known: ${port}, ${sidecar.db.port}, ${sidecar.db.url}"],
            ),
            (
                program().env("A", "${sidecar.cache.url}"),
                health(),
                ["`env`", "add \"cache\" to `dependsOn`, which has \"db\""],
            ),
            (program().current_dir("/${x"), health(), ["`cwd`", "\"${x\" has no closing brace"]),
            (
                program(),
                ReadyCheck::Exec(ExecCheck::new("true").args(["${x}"])),
                ["`ready`", "${x} is unknown"],
            ),
            (Program::new("api").arg("${port}"), health(), ["`args`", "set `port` to \"assigned\""]),
        ] {
            let error = valid(program, check).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
        }
    }

    #[test]
    fn without_placeholders_texts_stay_as_they_are() {
        let program = Program::new("sh").args(["-c", "echo ${HOME} $$"]);
        assert_eq!(Spec::run("api", program.clone()).validate(), Ok(()));
        let (expanded, _) = program.expanded(&ReadyCheck::Health, &Values::default()).unwrap();
        assert_eq!(expanded.args, program.args);
    }

    #[test]
    fn an_assigned_port_may_be_told_by_a_placeholder() {
        let program = || Program::new("api").listen(Listen::Assigned).placeholders(true);
        assert_eq!(Spec::run("api", program().arg("-p${port}")).validate(), Ok(()));
        assert_eq!(Spec::run("api", program().env("ADDR", "127.0.0.1:${port}")).validate(), Ok(()));
        for untold in [program(), program().arg("$${port}"), program().current_dir("${port}")] {
            assert_eq!(Spec::run("api", untold).validate(), Err(crate::InvalidSpec::PortUntold));
        }
    }
}
