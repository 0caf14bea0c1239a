//! Starts the program with the variables of the vectors, and looks at what it makes of them.

use std::net::TcpListener;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    Address, Descriptor3, EnvironmentVector, Environments, Listens, Outcome, Platform, Requirement,
    Server as _, Subject,
    subject::{Running, Start},
};

/// Runs the vectors of environment.json. Returns a text for each one that failed. Without `shoulds`, skips those whose rule is a
/// *should*.
#[must_use]
pub fn environments(subject: &Subject, file: &Environments, shoulds: bool) -> Vec<String> {
    let here = |vector: &&EnvironmentVector| {
        vector.platform.is_none_or(Platform::is_this) && (shoulds || vector.level == Requirement::Must)
    };
    let failure = |vector: &EnvironmentVector| {
        let error = check(subject, &file.token, vector).err()?;
        Some(format!("{}: {error:#}", vector.name))
    };
    file.vectors.iter().filter(here).filter_map(failure).collect()
}

fn check(subject: &Subject, token: &str, vector: &EnvironmentVector) -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let free = TcpListener::bind("127.0.0.1:0")?;
    let (taken_port, free_port) = (taken.local_addr()?.port(), free.local_addr()?.port());
    let outcome = &vector.outcome;
    // Otherwise it stays open, so that the system does not choose it for the server by chance.
    let _held = (outcome.listens != Some(Listens::Port)).then_some(free);
    let fill = |value: &String| {
        value.replace("{free}", &free_port.to_string()).replace("{taken}", &taken_port.to_string())
    };
    let variables = vector.environment.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
    let third = vector.descriptor3.as_deref().map(Descriptor3::new).transpose()?;
    let inherited = third.as_ref().and_then(|third| third.address.clone());
    match subject.start(&variables, third)? {
        Start::Running(running) => {
            ensure!(outcome.starts, "it started, at {:?}", running.address);
            address(&running, outcome, free_port, inherited.as_ref())?;
            admission(&running, outcome, token)?;
            origins(&running, outcome)
        }
        Start::Ended { code, stdout, stderr } => {
            ensure!(!outcome.starts, "it ended with {code:?}; stderr: {stderr}");
            ensure!(code != Some(0), "it refused to start, but its exit status is 0");
            ensure!(!stderr.trim().is_empty(), "it wrote no reason to stderr");
            ensure!(!stdout.contains("BACKEND_"), "it announced itself: {stdout:?}");
            let shown = stdout + &stderr;
            let is_hidden = outcome.hides.as_ref().is_none_or(|secret| !shown.contains(secret));
            ensure!(is_hidden, "it wrote the token: {shown}");
            Ok(())
        }
    }
}

/// Where it listens.
fn address(running: &Running, outcome: &Outcome, free_port: u16, inherited: Option<&Address>) -> Result<()> {
    let address = &running.address;
    let (is_free_port, is_inherited) = (*address == Address::Tcp(free_port), Some(address) == inherited);
    let is_expected = match outcome.listens {
        None => true,
        Some(Listens::Port) => is_free_port,
        Some(Listens::Descriptor) => is_inherited,
        Some(Listens::Any) => matches!(address, Address::Tcp(_)) && !is_free_port && !is_inherited,
    };
    ensure!(is_expected, "it is at {address:?}");
    #[cfg(target_os = "linux")]
    {
        let local = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let wanted = if let Address::Tcp(port) = *address { vec![local(port)] } else { vec![] };
        let mut open = crate::listening([running.pid()])?;
        // A listener for another process stays open, and is left alone.
        if outcome.listens != Some(Listens::Descriptor)
            && let Some(Address::Tcp(port)) = inherited
        {
            open.retain(|address| *address != local(*port));
        }
        ensure!(open == wanted, "it listens on {open:?}");
    }
    Ok(())
}

/// Which requests it serves, and as which instance.
fn admission(running: &Running, outcome: &Outcome, token: &str) -> Result<()> {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let get = |path: &str, header: &str| {
        let host = running.address.host();
        running.exchange(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n").as_bytes(), true)
    };
    if let Some(private) = outcome.private {
        let status = get("/items", "")?.status;
        ensure!(status == if private { 401 } else { 200 }, "a request without a token gets {status}");
        ensure!(get("/items", &bearer)?.status == 200, "a request with the token is refused");
    }
    if let Some(wanted) = &outcome.instance {
        let body: Value =
            serde_json::from_slice(&get("/health", &bearer)?.body).context("health is not JSON")?;
        let instance = body.get("instance").map(|instance| instance.as_str().unwrap_or_default());
        ensure!(instance == wanted.as_deref(), "health has the instance {instance:?}");
    }
    Ok(())
}

/// Pages of which origins may call it.
fn origins(running: &Running, outcome: &Outcome) -> Result<()> {
    let host = running.address.host();
    let answer = |origin: &String| {
        let request = format!("GET /health HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
        running.exchange(request.as_bytes(), true)
    };
    for origin in &outcome.allows {
        let answer = answer(origin)?;
        let allowed: Vec<_> = answer.values("access-control-allow-origin").collect();
        if answer.status != 200 || allowed != [origin] {
            bail!("the origin {origin:?} is refused:\n{}", answer.text());
        }
    }
    for origin in &outcome.refuses {
        let answer = answer(origin)?;
        ensure!(answer.status == 403, "the origin {origin:?} is not refused:\n{}", answer.text());
    }
    Ok(())
}
