//! Rule 5: the requests of the vectors, each counted for the check whose part of the rule decides it.

use std::{collections::BTreeMap, io::Write as _};

use pillion_vectors::{
    AddressKind, Answer, Aspect, Handlers, Mismatch, RequestVector, Requests, Server as _, check_request,
    hmac_proof, load,
};

use crate::check::{
    harness::{Harness, TOKEN},
    report::Verdict,
    run::Run,
};

/// How many failures the evidence of one check shows.
const SHOWN: usize = 3;

/// The failures of all request vectors on a port, by check.
#[derive(Debug, Clone, Default)]
pub(in crate::check) struct Answers {
    failures: BTreeMap<&'static str, Vec<String>>,
    /// How many requests each check sent.
    sent: BTreeMap<&'static str, usize>,
}

/// The vectors of one file.
fn files() -> Result<[Requests; 3], Verdict> {
    let file = |name| load(name).map_err(|error| Verdict::NotChecked(format!("{error:#}")));
    Ok([file("admission.json")?, file("websocket.json")?, file("proof.json")?])
}

/// Whether the vector holds on this transport.
fn holds(vector: &RequestVector, on: AddressKind) -> bool {
    vector.on.is_empty() || vector.on.contains(&on)
}

/// Sends all vectors, once for all checks.
fn answers(harness: &Harness) -> Result<Answers, Verdict> {
    harness.shared.answers.get_or_init(|| collect(harness)).clone()
}

fn collect(harness: &Harness) -> Result<Answers, Verdict> {
    let (mut answers, mut mismatches) = (Answers::default(), Vec::new());
    let files = files()?;
    // The check `origins` looks at lists of origins.
    for environment in ["private", "open"] {
        let variables = files[0].environments.get(environment).cloned().unwrap_or_default();
        let run = harness.run(harness.start_with(variables))?;
        for file in &files {
            let here = |vector: &&RequestVector| {
                vector.environment == environment && holds(vector, AddressKind::Tcp)
            };
            for vector in file.vectors.iter().filter(here) {
                let request = Traits::of(vector);
                *answers.sent.entry(request.decided_by()).or_default() += 1;
                if let Err(mismatch) = check_request(&run, file, vector, Handlers::Any) {
                    mismatches.push((vector, request, mismatch));
                }
            }
        }
    }
    let failed = |name: &str| {
        mismatches
            .iter()
            .any(|(vector, _, mismatch)| vector.name == name && mismatch.aspect == Aspect::Status)
    };
    // Without any check of the token, or without any request that passes, the other checks would repeat that one.
    let (nothing_refused, nothing_served) = (failed("no token"), failed("with the token"));
    for (vector, request, mismatch) in mismatches {
        let Some(check) = request.blames(&mismatch.aspect) else { continue };
        let follows = mismatch.aspect == Aspect::Status
            && (nothing_refused && request.needs_refusal && !request.plain_refusal
                || nothing_served && request.needs_handler);
        if !follows || check == "token" {
            answers.failures.entry(check).or_default().push(show(vector, &mismatch));
        }
    }
    Ok(answers)
}

/// What a vector is about.
#[derive(Debug, Clone, Copy)]
struct Traits {
    websocket: bool,
    health: bool,
    options: bool,
    /// `OPTIONS` with a requested method that is to be answered.
    preflight: bool,
    /// The target is not a path.
    other_target: bool,
    /// Exactly one `Host`, which names the server.
    own_host: bool,
    /// `Host` in the form that the server itself uses.
    usual_host: bool,
    origin: bool,
    /// No token, or a wrong one.
    needs_refusal: bool,
    /// A refusal of the origin, the host or the target.
    plain_refusal: bool,
    needs_handler: bool,
    /// Health for a client that may see all of it.
    whole_health: bool,
}

impl Traits {
    fn of(vector: &RequestVector) -> Self {
        let first = vector.request.first().map(String::as_str).unwrap_or_default();
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let values = |name: &str| -> Vec<String> {
            let lines = vector.request.iter().skip(1);
            let pairs = lines.filter_map(|line| line.split_once(':'));
            let named = pairs.filter(|(other, _)| other.trim().eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.trim().to_owned()).collect()
        };
        let (host, origin) = (values("host"), values("origin"));
        let own = ["{host}", "127.0.0.1:{port}", "localhost:{port}"];
        let own_host = matches!(&host[..], [host] if own.iter().any(|own| own.eq_ignore_ascii_case(host)));
        let passes = vector.status.iter().any(|status| matches!(status, 101 | 200 | 204));
        let refused = !passes && !vector.status.contains(&401);
        Self {
            websocket: !values("sec-websocket-protocol").is_empty(),
            // Also a path that a server might take for it.
            health: target.to_ascii_lowercase().contains("health") || vector.name.contains("than health"),
            options: method == "OPTIONS",
            preflight: method == "OPTIONS" && passes && vector.handler == Some(false),
            other_target: !target.starts_with('/') && target != "*",
            own_host,
            usual_host: host == ["{host}"],
            origin: !origin.is_empty(),
            needs_refusal: vector.handler == Some(false) && vector.status.contains(&401),
            plain_refusal: refused,
            needs_handler: vector.handler == Some(true),
            whole_health: method != "OPTIONS"
                && vector.status == [200]
                && target.split('?').next() == Some("/health")
                && (vector.environment == "open" || values("authorization") == ["Bearer {token}"]),
        }
    }

    /// The check that decides the status of the answer.
    fn decided_by(&self) -> &'static str {
        if self.other_target {
            return "target";
        }
        if !self.own_host && self.plain_refusal {
            return "host";
        }
        if self.plain_refusal {
            return "origin";
        }
        if self.websocket {
            return "subprotocol";
        }
        if self.needs_handler && !self.usual_host {
            return "host";
        }
        if self.needs_handler && self.origin && !self.options {
            return "origin";
        }
        match self {
            Self { options: true, needs_handler: false, .. } => "preflight",
            Self { needs_refusal: true, health: true, .. } => "health-path",
            Self { health: true, .. } => "alive",
            _ => "token",
        }
    }

    /// The check that a mismatch of this aspect breaks, or none if another check looks at it.
    fn blames(&self, aspect: &Aspect) -> Option<&'static str> {
        match aspect {
            // Rule 2 has its own checks.
            Aspect::Status | Aspect::Body if self.whole_health => None,
            Aspect::Status => Some(self.decided_by()),
            Aspect::Body => Some("alive"),
            Aspect::Header(name) => Some(match name.as_str() {
                "www-authenticate" => "unauthorized",
                "pillion-proof" => "proof",
                "sec-websocket-protocol" => "subprotocol",
                "access-control-allow-origin" | "vary" => "cors",
                name if name.starts_with("access-control-") && self.preflight => "preflight",
                name if name.starts_with("access-control-") => "cors",
                _ if self.health => "alive",
                _ => self.decided_by(),
            }),
        }
    }
}

/// A failure as evidence: the request in one line, and the difference.
fn show(vector: &RequestVector, mismatch: &Mismatch) -> String {
    let answer = mismatch.received.as_ref().map(Answer::text).unwrap_or_default();
    let answer = answer.lines().next().unwrap_or_default().to_owned();
    let head = mismatch.sent.trim_end().replace("\r\n", " ⏎ ").replace(TOKEN, "TOKEN");
    format!("{}: {} [{head}] → [{answer}]", vector.name, mismatch.why.replace(TOKEN, "TOKEN"))
}

/// The verdict of a check that the vectors decide.
fn verdict(harness: &Harness, check: &'static str) -> Result<Verdict, Verdict> {
    needs_private(harness)?;
    let answers = answers(harness)?;
    let failures = answers.failures.get(check).cloned().unwrap_or_default();
    let sent = answers.sent.get(check).copied().unwrap_or_default();
    let mut shown: Vec<_> = failures.iter().take(SHOWN).cloned().collect();
    if failures.len() > SHOWN {
        shown.push(format!("and {} more", failures.len() - SHOWN));
    }
    let kept = if sent == 0 { "all answers".to_owned() } else { format!("{sent} requests") };
    Ok(Verdict::unless(&shown, kept))
}

fn needs_private(harness: &Harness) -> Result<(), Verdict> {
    if harness.settings.private {
        return Ok(());
    }
    Err(Verdict::NotChecked("--public: the program does not claim rule 5".to_owned()))
}

macro_rules! of_vectors {
    ($($name:ident $check:literal),+) => {
        $(pub(in crate::check) fn $name(harness: &Harness) -> Result<Verdict, Verdict> {
            verdict(harness, $check)
        })+
    };
}

of_vectors!(
    host "host",
    target "target",
    origin "origin",
    unauthorized "unauthorized",
    alive "alive",
    health_path "health-path",
    preflight "preflight",
    cors "cors",
    subprotocol "subprotocol",
    proof "proof"
);

/// Paths that frameworks and their plugins serve by themselves, perhaps in front of the check of the token.
const OPEN_PATHS: [&str; 11] = [
    "/docs",
    "/openapi.json",
    "/swagger.json",
    "/metrics",
    "/ready",
    "/favicon.ico",
    "/index.html",
    "/robots.txt",
    "/static/",
    "/assets/",
    "/debug/pprof/",
];

pub(in crate::check) fn token(harness: &Harness) -> Result<Verdict, Verdict> {
    let of_vectors = verdict(harness, "token")?;
    let Verdict::Kept(kept) = of_vectors else { return Ok(of_vectors) };
    let run = harness.run(harness.start())?;
    let mut broken = Vec::new();
    // A session that begins with the token must not let others in.
    let _ = run.get("GET /", true);
    for path in ["/", "/health"].into_iter().chain(OPEN_PATHS) {
        let answer = run.get(&format!("GET {path}"), false);
        let answer = answer.map_err(|error| Verdict::NotChecked(format!("GET {path}: {error:#}")))?;
        if answer.text().contains(TOKEN) {
            broken.push(format!("GET {path} without the token: the answer contains the token"));
        } else if answer.status != 401 && path != "/health" {
            broken.push(format!("GET {path} without the token: {}", answer.status));
        }
    }
    Ok(Verdict::unless(&broken, kept))
}

/// After the proof, the host sends the token on the same connection.
pub(in crate::check) fn keep_alive(harness: &Harness) -> Result<Verdict, Verdict> {
    const CHALLENGE: &str = "000102030405060708090a0b0c0d0e0f";
    needs_private(harness)?;
    let run = harness.run(harness.start())?;
    let not_checked = |error: anyhow::Error| Verdict::NotChecked(format!("{error:#}"));
    let mut connection = run.connect().map_err(|error| not_checked(error.into()))?;
    let asked = format!("{}Pillion-Challenge: {CHALLENGE}\r\n\r\n", run.head("GET /health", false));
    connection.write_all(asked.as_bytes()).map_err(|error| not_checked(error.into()))?;
    let answer = Answer::read(&mut connection, true).map_err(not_checked)?;
    let proof = hmac_proof(TOKEN, &run.address().host(), CHALLENGE);
    if !answer.values("pillion-proof").eq([proof.as_str()]) {
        return Err(Verdict::NotChecked(format!("no proof: {}", answer.text())));
    }
    let second = connection.write_all(format!("{}\r\n", run.head("GET /health", true)).as_bytes());
    let answer = second.map_err(Into::into).and_then(|()| Answer::read(&mut connection, true));
    Ok(match answer {
        Ok(answer) if answer.status != 0 => {
            Verdict::Kept(format!("a challenge, then the token, on one connection: {}", answer.status))
        }
        Ok(answer) => Verdict::Broken(format!("a challenge, then the token: {}", answer.text())),
        Err(error) => Verdict::Broken(format!("a challenge, then the token: {error:#}")),
    })
}

/// Sends those vectors on the local socket that differ there from a port: `Host` and the proof. Leaves out what fails on a port too.
pub(in crate::check) fn failures_on_socket(harness: &Harness, run: &Run) -> Result<Vec<String>, Verdict> {
    let on_port = answers(harness)?;
    let mut failures = Vec::new();
    for file in &files()? {
        let here = |vector: &&RequestVector| {
            let differs = vector.on.contains(&AddressKind::Socket) || vector.name == "challenge";
            vector.environment == "private" && differs && holds(vector, AddressKind::Socket)
        };
        for vector in file.vectors.iter().filter(here) {
            if let Err(mismatch) = check_request(run, file, vector, Handlers::Any)
                && let Some(check) = Traits::of(vector).blames(&mismatch.aspect)
                && !on_port.failures.contains_key(check)
            {
                failures.push(show(vector, &mismatch));
            }
        }
    }
    Ok(failures)
}
