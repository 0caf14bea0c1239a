//! Sends the requests of the vectors, and compares the answers.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    AddressKind, Level, RequestVector, Requests, Subject, Variables,
    answer::Answer,
    data::hmac_proof,
    subject::{Address, Running, Start, Third},
};

/// Runs the vectors of a file on one transport. Returns a text for each one that failed. Without `shoulds`, skips those whose rule
/// is a *should*.
///
/// # Errors
/// Returns an error if the program does not start.
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
                && (shoulds || vector.level == Level::Must)
        });
        let mut vectors = vectors.peekable();
        if vectors.peek().is_none() {
            continue;
        }
        let running =
            start(subject, variables, transport).with_context(|| format!("environment {name:?}"))?;
        for vector in vectors {
            if let Err(error) = check(&running, file, vector) {
                failures.push(format!("{}: {error:#}", vector.name));
            }
        }
    }
    for vector in &file.vectors {
        ensure!(file.environments.contains_key(&vector.environment), "{}: no such environment", vector.name);
    }
    Ok(failures)
}

fn start(subject: &Subject, variables: &Variables, transport: AddressKind) -> Result<Running> {
    let (mut variables, mut third) = (variables.clone(), None);
    if transport == AddressKind::Socket {
        third = Some(Third::new("unix")?);
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

fn check(running: &Running, file: &Requests, vector: &RequestVector) -> Result<()> {
    let fill = |text: &str| {
        let (host, port) = (running.address.host(), running.address.port().to_string());
        let text = text.replace("{host}", &host).replace("{port}", &port);
        text.replace("{token}", &file.token).replace("{instance}", &file.instance)
    };
    let head: String = vector.request.iter().map(|line| fill(line) + "\r\n").collect();
    let has_body = !head.starts_with("HEAD ");
    let answer = running.exchange(format!("{head}\r\n{}", fill(&vector.body)).as_bytes(), has_body)?;
    let prove = |challenge: &str| hmac_proof(&file.token, &running.address.host(), challenge);
    match compare(&answer, vector, has_body, fill, prove) {
        Ok(()) => Ok(()),
        Err(why) => bail!("{why:#}\n{head}\n{}", answer.text()),
    }
}

fn compare(
    answer: &Answer,
    vector: &RequestVector,
    has_body: bool,
    fill: impl Fn(&str) -> String,
    prove: impl Fn(&str) -> String,
) -> Result<()> {
    let exactly = |name: &str, wanted: Option<&str>| {
        let values: Vec<_> = answer.values(name).collect();
        ensure!(values == wanted.map_or(vec![], |value| vec![value]), "{name} is {values:?}, not {wanted:?}");
        Ok(())
    };
    ensure!(
        vector.status.contains(&answer.status),
        "the status is {}, not one of {:?}",
        answer.status,
        vector.status
    );
    // The handler of a WebSocket answers with its own headers.
    if let Some(wanted) = vector.handler
        && answer.status != 101
    {
        let reached = answer.values("x-handler").next().is_some();
        ensure!(reached == wanted, "the request reached a handler: {reached}");
    }
    for (name, value) in &vector.headers {
        exactly(name, Some(&fill(value)))?;
    }
    for (name, wanted) in &vector.listed {
        let elements = answer.elements(name);
        for element in wanted {
            ensure!(
                elements.contains(&element.to_ascii_lowercase()),
                "{name} lists {elements:?}, not {element:?}"
            );
        }
    }
    for name in &vector.absent {
        exactly(name, None)?;
    }
    if has_body {
        let body = || serde_json::from_slice::<Value>(&answer.body).context("the body is not JSON");
        if let Some(wanted) = &vector.json {
            ensure!(body()? == *wanted, "the body is not {wanted}");
        }
        if let Some(wanted) = &vector.json_has {
            let body = body()?;
            for (name, value) in wanted.as_object().context("json_has is not an object")? {
                let value = value.as_str().map_or_else(|| value.clone(), |text| fill(text).into());
                ensure!(body[name] == value, "{name} of the body is {}, not {value}", body[name]);
            }
        }
    }
    if let Some(challenge) = &vector.proof {
        exactly("pillion-proof", challenge.as_deref().map(prove).as_deref())?;
    }
    if answer.status == 101 {
        if let Some(chosen) = &vector.chosen {
            exactly("sec-websocket-protocol", chosen.as_deref())?;
        }
        if let Some(sees) = &vector.sees {
            let seen = answer.elements("x-subprotocols");
            ensure!(seen == *sees, "the handler sees the subprotocols {seen:?}, not {sees:?}");
        }
    }
    Ok(())
}
