//! Rule 2: health and instance.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pillion::protocol::environment;
use serde_json::Value;

use crate::check::{
    harness::{Harness, INSTANCE, Start},
    report::Verdict,
};

/// How far the time in health may be from that of the check, in milliseconds: the program may have cached its answer for a minute.
const CLOCKS_DIFFER: f64 = 60_000.0;
/// How much of the body a host reads.
const HEALTH_LIMIT: usize = 64 * 1024;

/// Health of a run, asked with the token.
#[derive(Debug, Clone)]
pub(in crate::check) struct Health {
    status: u16,
    body: Vec<u8>,
    /// When its answer was there, in milliseconds since the Unix epoch.
    at: f64,
    /// The whole answer.
    text: String,
    /// The age of the program when its answer was there.
    age: Duration,
}

impl Health {
    fn json(&self) -> Result<Value, Verdict> {
        if !(200..300).contains(&self.status) {
            return Err(Verdict::NotChecked(format!("GET /health: {}", self.status)));
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| Verdict::NotChecked(format!("the body of health is not JSON: {}", self.text)))
    }
}

fn ask(harness: &Harness, start: Start) -> Result<Health, Verdict> {
    let run = harness.run(start)?;
    let answer = run.get("GET /health", harness.settings.private);
    let age = run.began.elapsed();
    #[expect(clippy::disallowed_methods, reason = "the program tells the time of the same clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = now.as_secs_f64() * 1000.0;
    Ok(match answer {
        Ok(answer) => Health { status: answer.status, at, text: answer.text(), body: answer.body, age },
        Err(error) => Health { status: 0, at, text: format!("{error:#}"), body: Vec::new(), age },
    })
}

fn health(harness: &Harness) -> Result<Health, Verdict> {
    harness.shared.health.get_or_init(|| ask(harness, harness.start())).clone()
}

pub(in crate::check) fn health_status(harness: &Harness) -> Result<Verdict, Verdict> {
    let health = health(harness)?;
    Ok(match health.status {
        200..300 => Verdict::Kept(format!("GET /health: {}", health.status)),
        _ => Verdict::Broken(format!("GET /health: {}", health.text)),
    })
}

pub(in crate::check) fn body(harness: &Harness) -> Result<Verdict, Verdict> {
    let health = health(harness)?;
    let text = String::from_utf8_lossy(&health.body).into_owned();
    let json = match health.json() {
        Err(why) if !(200..300).contains(&health.status) => return Err(why),
        json => json.unwrap_or_default(),
    };
    let Value::Object(members) = json else {
        return Ok(Verdict::Broken(format!("the body is not a JSON object: {text}")));
    };
    let number = |name: &str| members.get(name).and_then(Value::as_f64);
    let mut broken = Vec::new();
    if members.get("status").and_then(Value::as_str) != Some("ok") {
        broken.push(format!("status is not \"ok\": {text}"));
    }
    if !members.get("app").is_some_and(Value::is_string) {
        broken.push(format!("app is not a string: {text}"));
    }
    if !number("timestamp").is_some_and(|timestamp| (timestamp - health.at).abs() < CLOCKS_DIFFER) {
        broken.push(format!("timestamp is not the time in milliseconds since the Unix epoch: {text}"));
    }
    // Its clock may run a little faster.
    let age = health.age.as_secs_f64();
    if !number("uptime").is_some_and(|uptime| (0.0..=age + 1.0).contains(&uptime)) {
        broken.push(format!("uptime is not in seconds, {age:.3} s after the start: {text}"));
    }
    if health.body.len() > HEALTH_LIMIT {
        broken.push(format!("it has {} bytes, of which a host reads {HEALTH_LIMIT}", health.body.len()));
    }
    Ok(Verdict::unless(&broken, text))
}

/// A host refuses a program of another major version, and one that says no version.
pub(in crate::check) fn version(harness: &Harness) -> Result<Verdict, Verdict> {
    let json = health(harness)?.json()?;
    let Some(version) = json.get("pillion_protocol").and_then(Value::as_str) else {
        return Ok(Verdict::Kept("health names no version".to_owned()));
    };
    let shown = format!("\"pillion_protocol\":{version:?}");
    Ok(match environment::protocol_major(version) {
        Some(environment::PROTOCOL_MAJOR) => Verdict::Kept(shown),
        _ => Verdict::Broken(shown),
    })
}

/// An instance of health must be that of the host.
pub(in crate::check) fn instance(harness: &Harness) -> Result<Verdict, Verdict> {
    let mut broken = Vec::new();
    let without = ask(harness, harness.start().unset("PILLION_INSTANCE"))?;
    for (health, wanted) in [(health(harness)?, Some(INSTANCE)), (without, None)] {
        let json = health.json()?;
        let instance = json.get("instance").filter(|instance| !instance.is_null());
        if instance.is_some_and(|instance| instance.as_str() != wanted) {
            broken.push(format!("PILLION_INSTANCE={}: {json}", wanted.unwrap_or("(unset)")));
        }
    }
    Ok(Verdict::unless(&broken, "health shows only the instance in PILLION_INSTANCE"))
}

pub(in crate::check) fn instance_returned(harness: &Harness) -> Result<Verdict, Verdict> {
    let json = health(harness)?.json()?;
    Ok(match json.get("instance") {
        Some(Value::String(instance)) => Verdict::Kept(format!("\"instance\":{instance:?}")),
        _ => Verdict::Broken(format!("PILLION_INSTANCE={INSTANCE}: {json}")),
    })
}

pub(in crate::check) fn instance_invalid(harness: &Harness) -> Result<Verdict, Verdict> {
    super::announce::refuses(
        harness,
        &[("PILLION_INSTANCE", "x"), ("PILLION_INSTANCE", "00112233445566778899AABBCCDDEEFF")],
    )
}
