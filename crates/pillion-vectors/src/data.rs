//! The vectors as types. A field that this crate does not know is an error, so that no test overlooks a condition.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use sha2::Sha256;

/// Variables of the environment, by name.
pub type Variables = BTreeMap<String, String>;

/// The files of docs/protocol. The crate contains copies, because a published crate can contain only files of its own folder.
const FILES: [(&str, &str); 6] = [
    ("admission.json", include_str!("../data/admission.json")),
    ("announcement.json", include_str!("../data/announcement.json")),
    ("environment.json", include_str!("../data/environment.json")),
    ("progress.json", include_str!("../data/progress.json")),
    ("proof.json", include_str!("../data/proof.json")),
    ("websocket.json", include_str!("../data/websocket.json")),
];

/// Reads a file of vectors, such as `admission.json`.
///
/// # Errors
/// Returns an error if the file does not exist, or if it has fields that this crate does not know.
pub fn load<T: DeserializeOwned>(name: &str) -> Result<T> {
    let file = FILES.iter().find(|file| file.0 == name).with_context(|| format!("no vectors in {name}"))?;
    serde_json::from_str(file.1).with_context(|| format!("{name} is not a file of vectors"))
}

/// announcement.json.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcements {
    /// What the file is about.
    pub about: String,
    /// The vectors.
    pub vectors: Vec<AnnouncementVector>,
}

/// Bytes of a stream, and what a host reads from them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnouncementVector {
    /// A unique name.
    pub name: String,
    text: Option<String>,
    hex: Option<String>,
    #[serde(default)]
    segments: Vec<Segment>,
    /// `stderr`, or stdout if absent.
    pub stream: Option<String>,
    /// The only platform on which the vector holds.
    pub platform: Option<Platform>,
    /// Whether the host gave the run a socket or a pipe.
    #[serde(default)]
    pub given: bool,
    /// What the host reads.
    pub outcome: ExpectedReading,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Segment {
    text: String,
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

/// What a host reads from a stream.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedReading {
    /// The address that the host takes: a port, or `local`.
    pub announced: Option<Value>,
    /// The host reports a further announcement.
    pub repeated: bool,
    /// The line that the host reports as no announcement.
    pub malformed: Option<String>,
    /// The line within which the stream ended.
    pub unfinished: Option<String>,
    /// The host gave this run no socket or pipe.
    pub refused: bool,
    /// An ordinary line, which the error of a failed start explains.
    pub near_miss: bool,
}

impl AnnouncementVector {
    /// The bytes of the stream.
    ///
    /// # Panics
    /// Panics if `hex` is not hexadecimal.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        bytes(self.text.as_deref(), self.hex.as_deref(), &self.segments)
    }
}

fn bytes(text: Option<&str>, hex: Option<&str>, segments: &[Segment]) -> Vec<u8> {
    if let Some(text) = text {
        return text.as_bytes().to_owned();
    }
    if let Some(hex) = hex {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        return (0..hex.len()).step_by(2).map(byte).collect();
    }
    segments.iter().map(|segment| segment.text.repeat(segment.times)).collect::<String>().into_bytes()
}

/// progress.json.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressFile {
    /// What the file is about.
    pub about: String,
    /// Bytes that a host reads.
    pub vectors: Vec<ProgressVector>,
    /// Lines that the function of an SDK writes.
    pub lines: Vec<ProgressLine>,
}

/// Bytes of a stream, and the last words of progress in them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressVector {
    /// A unique name.
    pub name: String,
    text: Option<String>,
    hex: Option<String>,
    #[serde(default)]
    segments: Vec<Segment>,
    /// `stderr`, or stdout if absent.
    pub stream: Option<String>,
    /// The words; `None`: no line is one of progress.
    pub progress: Option<String>,
}

impl ProgressVector {
    /// The bytes of the stream.
    ///
    /// # Panics
    /// Panics if `hex` is not hexadecimal.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        bytes(self.text.as_deref(), self.hex.as_deref(), &self.segments)
    }
}

/// Words, and the line that says them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressLine {
    /// A unique name.
    pub name: String,
    /// What the program passes to the function.
    pub words: String,
    /// What the function writes to stdout.
    pub line: String,
}

/// environment.json.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environments {
    /// What the file is about.
    pub about: String,
    /// The token of the vectors that have a valid one.
    pub token: String,
    /// The vectors.
    pub vectors: Vec<EnvironmentVector>,
}

/// The variables of a start, and what the program makes of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentVector {
    /// A unique name.
    pub name: String,
    /// The variables, with placeholders.
    pub environment: Variables,
    /// What descriptor 3 is.
    pub descriptor3: Option<String>,
    /// Whether the rule is a *must* or a *should*.
    #[serde(default)]
    pub level: Requirement,
    /// The only platform on which the vector holds.
    pub platform: Option<Platform>,
    /// What the program does.
    pub outcome: Outcome,
}

/// What a program does with its environment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Whether it starts.
    pub starts: bool,
    /// Where it listens.
    pub listens: Option<Listens>,
    /// Whether requests need the token.
    pub private: Option<bool>,
    /// The `instance` of health; `Some(None)`: there is none.
    #[serde(default, deserialize_with = "present")]
    pub instance: Option<Option<String>>,
    /// The origins that may call.
    #[serde(default)]
    pub allows: Vec<String>,
    /// Origins that may not.
    #[serde(default)]
    pub refuses: Vec<String>,
    /// A secret that no output contains.
    pub hides: Option<String>,
}

/// Where a program listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listens {
    /// On a port that the system chose.
    Any,
    /// On the port that `PORT` names.
    Port,
    /// On descriptor 3.
    Descriptor,
}

/// admission.json, websocket.json or proof.json.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// What the file is about.
    pub about: String,
    /// The value of `{token}`.
    pub token: String,
    /// The value of `{instance}`.
    pub instance: String,
    /// The variables with which the program runs, by the name that vectors refer to.
    pub environments: BTreeMap<String, Variables>,
    /// In proof.json: proofs of the function alone.
    #[serde(default)]
    pub proofs: Vec<ProofVector>,
    /// The vectors.
    pub vectors: Vec<RequestVector>,
}

/// A proof, and what it is made from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofVector {
    /// A unique name.
    pub name: String,
    /// The digits of the token.
    pub token: String,
    /// The value of `Host`.
    pub address: String,
    /// The digits of the challenge.
    pub challenge: String,
    /// The digits of the proof.
    pub proof: String,
}

/// A request, and its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestVector {
    /// A unique name.
    pub name: String,
    /// The name of the entry in `environments`.
    pub environment: String,
    /// The lines of the head, with placeholders.
    pub request: Vec<String>,
    /// The transports on which the vector holds; empty: all.
    #[serde(default)]
    pub on: Vec<AddressKind>,
    /// The body, with placeholders.
    #[serde(default)]
    pub body: String,
    /// Whether the rule is a *must* or a *should*.
    #[serde(default)]
    pub level: Requirement,
    /// The status codes that fulfil the rule; 0: the connection is closed without an answer.
    pub status: Vec<u16>,
    /// Whether the request reaches a handler; `None`: either.
    pub handler: Option<bool>,
    /// Headers of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Elements of headers of the answer.
    #[serde(default)]
    pub listed: BTreeMap<String, Vec<String>>,
    /// Headers that the answer does not have.
    #[serde(default)]
    pub absent: Vec<String>,
    /// The body of the answer.
    pub json: Option<Value>,
    /// Members of the body of the answer.
    pub json_has: Option<Value>,
    /// The challenge whose proof the answer carries; `Some(None)`: it carries none.
    #[serde(default, deserialize_with = "present")]
    pub proof: Option<Option<String>>,
    /// The subprotocols that the handler sees.
    pub sees: Option<Vec<String>>,
    /// The subprotocol of the answer; `Some(None)`: it has none.
    #[serde(default, deserialize_with = "present")]
    pub chosen: Option<Option<String>>,
}

/// How a client reaches the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressKind {
    /// A port of 127.0.0.1.
    Tcp,
    /// A Unix domain socket.
    Socket,
}

/// The level of a rule (RFC 2119).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// A *must*.
    #[default]
    Must,
    /// A *should*.
    Should,
}

/// A platform on which alone a vector holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Every Unix.
    Unix,
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

impl Platform {
    /// Whether this program runs on the platform.
    #[must_use]
    pub fn is_this(self) -> bool {
        match self {
            Self::Unix => cfg!(unix),
            Self::Linux => cfg!(target_os = "linux"),
            Self::Windows => cfg!(windows),
        }
    }
}

/// The proof that the server at `address` gives for `challenge` (docs/protocol.md, rule 5).
///
/// # Panics
/// Never: an HMAC takes keys of any length.
#[must_use]
pub fn hmac_proof(token: &str, address: &str, challenge: &str) -> String {
    let mut hmac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("HMAC takes keys of any length");
    hmac.update(format!("pillion-health {address} {challenge}").as_bytes());
    hmac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Distinguishes `null` from an absent field.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    #[test]
    fn generated_vectors_are_up_to_date() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let source = folder.join("../../docs/protocol");
        let names =
            fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".json")).collect();
        names.sort();
        assert_eq!(names, FILES.map(|file| file.0), "FILES lists the files of docs/protocol");
        for (name, embedded) in FILES {
            let wanted = fs::read_to_string(source.join(name)).unwrap();
            if env::var_os("PILLION_CODEGEN").is_some() {
                fs::write(folder.join("data").join(name), &wanted).unwrap();
            } else {
                assert!(embedded == wanted, "data/{name} is out of date: run `cargo xtask codegen`");
            }
        }
    }
}
