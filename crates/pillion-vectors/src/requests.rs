//! Sends the requests of the vectors, and compares the answers.

use std::fmt;

#[cfg(unix)]
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

#[cfg(unix)]
use crate::{
    Address, AddressKind, Descriptor3, Requirement, Subject, Variables,
    subject::{Running, Start},
};
use crate::{Answer, Handlers, RequestVector, Requests, Server, data::hmac_proof};

/// Runs the vectors of a file on one transport. Returns a text for each one that failed. Without `shoulds`, skips those whose rule
/// is a *should*.
///
/// # Errors
/// Returns an error if the program does not start.
#[cfg(unix)]
pub fn requests(
    subject: &Subject,
    file: &Requests,
    transport: AddressKind,
    shoulds: bool,
) -> Result<Vec<String>> {
    let mut failures = Vec::new();
    for (name, variables) in &file.environments {
        let vectors = file.vectors.iter().filter(|vector| {
            vector.environment == *name
                && (vector.on.is_empty() || vector.on.contains(&transport))
                && (shoulds || vector.level == Requirement::Must)
        });
        let mut vectors = vectors.peekable();
        if vectors.peek().is_none() {
            continue;
        }
        let running =
            start(subject, variables, transport).with_context(|| format!("environment {name:?}"))?;
        for vector in vectors {
            if let Err(mismatch) = check_request(&running, file, vector, Handlers::OfVectors) {
                failures.push(format!("{}: {mismatch}", vector.name));
            }
        }
    }
    for vector in &file.vectors {
        ensure!(file.environments.contains_key(&vector.environment), "{}: no such environment", vector.name);
    }
    Ok(failures)
}

#[cfg(unix)]
fn start(subject: &Subject, variables: &Variables, transport: AddressKind) -> Result<Running> {
    let (mut variables, mut third) = (variables.clone(), None);
    if transport == AddressKind::Socket {
        third = Some(Descriptor3::new("unix")?);
        for (name, value) in [("LISTEN_FDS", "1"), ("LISTEN_PID", "{pid}"), ("LISTEN_FDNAMES", "http")] {
            variables.insert(name.to_owned(), value.to_owned());
        }
    }
    match subject.start(&variables, third)? {
        Start::Running(running) => {
            ensure!(
                matches!(running.address, Address::Unix(_)) == (transport == AddressKind::Socket),
                "the program listens at {:?}",
                running.address
            );
            Ok(running)
        }
        Start::Ended { code, stdout, stderr } => {
            bail!(
                "the program ended with {code:?} before its announcement; stdout: {stdout}; stderr: {stderr}"
            )
        }
    }
}

/// The part of an answer that a vector speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aspect {
    /// The status code, or that the request reaches a handler.
    Status,
    /// The header of this name, in lower case.
    Header(String),
    /// The body.
    Body,
}

/// An answer that differs from the vector.
#[derive(Debug)]
pub struct Mismatch {
    /// The part of the answer that differs first.
    pub aspect: Aspect,
    /// The difference, in one sentence.
    pub why: String,
    /// The head of the request.
    pub sent: String,
    /// The answer, or none.
    pub received: Option<Answer>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let received = self.received.as_ref().map(Answer::text).unwrap_or_default();
        write!(f, "{}\n{}\n{received}", self.why, self.sent)
    }
}

/// Sends the request of a vector, and compares the answer. Blocks.
///
/// # Errors
/// Returns the first difference. A server that gives no answer differs in the status.
pub fn check_request(
    server: &impl Server,
    file: &Requests,
    vector: &RequestVector,
    handlers: Handlers,
) -> Result<(), Box<Mismatch>> {
    let fill = |text: &str| {
        let (host, port) = (server.address().host(), server.address().port().to_string());
        let text = text.replace("{host}", &host).replace("{port}", &port);
        text.replace("{token}", &file.token).replace("{instance}", &file.instance)
    };
    let head: String = vector.request.iter().map(|line| fill(line) + "\r\n").collect();
    let has_body = !head.starts_with("HEAD ");
    let answer = match server.exchange(format!("{head}\r\n{}", fill(&vector.body)).as_bytes(), has_body) {
        Ok(answer) => answer,
        Err(error) => {
            let why = format!("no answer: {error:#}");
            return Err(Box::new(Mismatch { aspect: Aspect::Status, why, sent: head, received: None }));
        }
    };
    let prove = |challenge: &str| hmac_proof(&file.token, &server.address().host(), challenge);
    compare(&answer, vector, handlers, has_body, fill, prove)
        .map_err(|(aspect, why)| Box::new(Mismatch { aspect, why, sent: head, received: Some(answer) }))
}

fn compare(
    answer: &Answer,
    vector: &RequestVector,
    handlers: Handlers,
    has_body: bool,
    fill: impl Fn(&str) -> String,
    prove: impl Fn(&str) -> String,
) -> Result<(), (Aspect, String)> {
    let exactly = |name: &str, wanted: Option<&str>| {
        let values: Vec<_> = answer.values(name).collect();
        if values == wanted.map_or(vec![], |value| vec![value]) {
            return Ok(());
        }
        Err((Aspect::Header(name.to_owned()), format!("{name} is {values:?}, not {wanted:?}")))
    };
    status(answer, vector, handlers).map_err(|why| (Aspect::Status, why))?;
    for (name, value) in &vector.headers {
        exactly(name, Some(&fill(value)))?;
    }
    for (name, wanted) in &vector.listed {
        let elements = answer.elements(name);
        for element in wanted {
            if !elements.contains(&element.to_ascii_lowercase()) {
                let why = format!("{name} lists {elements:?}, not {element:?}");
                return Err((Aspect::Header(name.clone()), why));
            }
        }
    }
    for name in &vector.absent {
        exactly(name, None)?;
    }
    if has_body {
        body(answer, vector, fill).map_err(|why| (Aspect::Body, why))?;
    }
    if let Some(challenge) = &vector.proof {
        exactly("pillion-proof", challenge.as_deref().map(prove).as_deref())?;
    }
    if answer.status == 101 {
        if handlers == Handlers::Any {
            chosen_of_any(answer, vector).map_err(|why| (Aspect::Header(SUBPROTOCOL.to_owned()), why))?;
        } else if let Some(chosen) = &vector.chosen {
            exactly(SUBPROTOCOL, chosen.as_deref())?;
        }
        if let Some(sees) = &vector.sees
            && handlers == Handlers::OfVectors
        {
            let seen = answer.elements("x-subprotocols");
            if seen != *sees {
                let why = format!("the handler sees the subprotocols {seen:?}, not {sees:?}");
                return Err((Aspect::Header("x-subprotocols".to_owned()), why));
            }
        }
    }
    Ok(())
}

/// The header of the subprotocols, in lower case.
const SUBPROTOCOL: &str = "sec-websocket-protocol";

/// Any server may speak each of the page's own subprotocols, as the library `ws` does unless told otherwise: it chooses one of them, or
/// `pillion` if that was offered.
fn chosen_of_any(answer: &Answer, vector: &RequestVector) -> Result<(), String> {
    let lines = vector.request.iter().filter_map(|line| line.split_once(':'));
    let offered = lines.filter(|(name, _)| name.eq_ignore_ascii_case(SUBPROTOCOL));
    let offered: Vec<_> = offered
        .flat_map(|(_, value)| value.split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty() && !element.starts_with("pillion.bearer."))
        .collect();
    let chosen: Vec<_> = answer.values(SUBPROTOCOL).collect();
    match chosen[..] {
        [] if !offered.contains(&"pillion") => Ok(()),
        [one] if offered.contains(&one) => Ok(()),
        _ => Err(format!("{SUBPROTOCOL} is {chosen:?}, not one of {offered:?}")),
    }
}

fn status(answer: &Answer, vector: &RequestVector, handlers: Handlers) -> Result<(), String> {
    let status = answer.status;
    if handlers == Handlers::Any && vector.handler != Some(false) {
        // A server that accepts no WebSocket at all may say so with 403, as ASGI servers do.
        let websocket = vector.status.contains(&101);
        return match status {
            // The request has reached the handler of WebSockets, which serves none at this path and closes the connection, as Nest's
            // adapter for `ws` and Socket.IO do: a refusal by the rules has an answer.
            0 if websocket => Ok(()),
            0 => Err("the server closed the connection without an answer".to_owned()),
            // The vector allows a refusal as well.
            401 | 403 if !(vector.status.contains(&status) || websocket && status == 403) => {
                Err(format!("the status is {status}: the request did not reach a handler"))
            }
            _ => Ok(()),
        };
    }
    if !vector.status.contains(&status) {
        return Err(format!("the status is {status}, not one of {:?}", vector.status));
    }
    // The handler of a WebSocket answers with its own headers.
    if let Some(wanted) = vector.handler
        && status != 101
    {
        let reached = answer.values("x-handler").next().is_some();
        if reached != wanted {
            return Err(format!("the request reached a handler: {reached}"));
        }
    }
    Ok(())
}

fn body(answer: &Answer, vector: &RequestVector, fill: impl Fn(&str) -> String) -> Result<(), String> {
    let json = || {
        serde_json::from_slice::<Value>(&answer.body)
            .map_err(|error| format!("the body is not JSON: {error}"))
    };
    if let Some(wanted) = &vector.json
        && json()? != *wanted
    {
        return Err(format!("the body is not {wanted}"));
    }
    if let Some(wanted) = vector.json_has.as_ref().and_then(Value::as_object) {
        let body = json()?;
        for (name, value) in wanted {
            let value = value.as_str().map_or_else(|| value.clone(), |text| fill(text).into());
            if body[name] != value {
                return Err(format!("{name} of the body is {}, not {value}", body[name]));
            }
        }
    }
    Ok(())
}
