//! The vectors of docs/protocol, against the types and parsers alone.

#![expect(clippy::unwrap_used, reason = "clippy does not recognise this crate as test code")]

use std::ffi::OsString;

use pillion_protocol::{
    Admission, Announcement, Challenge, Decision, HostEnvironment, LineFramer, ListenAddr, NearMiss, Token,
    admission::{Field, Head, without_bearer},
    environment::TAURI_ORIGINS,
    progress, progress_line,
};
use pillion_vectors::{
    AddressKind, AnnouncementVector, Announcements, Environments, Platform, ProgressFile, ProgressLine,
    RequestVector, Requests, load,
};

const PORT: u16 = 4242;

#[test]
fn announcements() {
    let file: Announcements = load("announcement.json").unwrap();
    let here = |vector: &&AnnouncementVector| vector.platform.is_none_or(Platform::is_this);
    for vector in file.vectors.iter().filter(here) {
        let bytes = vector.bytes();
        for size in [bytes.len().max(1), 1, 7] {
            check_announcement(vector, &bytes, size);
        }
    }
}

fn check_announcement(vector: &AnnouncementVector, bytes: &[u8], size: usize) {
    let on_stderr = vector.stream.as_deref() == Some("stderr");
    let (mut found, mut near_miss) = (Vec::new(), false);
    let mut framer = LineFramer::new(8 * 1024);
    let mut read = |line: &pillion_protocol::Line<'_>| {
        if on_stderr {
            near_miss |= NearMiss::on_stderr(line).is_some();
        } else {
            found.extend(Announcement::read(line));
            near_miss |= NearMiss::on_stdout(line).is_some();
        }
    };
    bytes.chunks(size).for_each(|part| framer.feed(part, |line| read(&line)));
    framer.finish(|line| read(&line));

    let (name, outcome) = (&vector.name, &vector.outcome);
    let announced: Vec<_> = found.iter().filter_map(addr).collect();
    let wanted = match &outcome.announced {
        Some(port) => vec![port.as_u64().map_or_else(|| "local".to_owned(), |port| format!("port {port}"))],
        // The parser does not know what the host gave: the state machine refuses the address.
        None if outcome.refused => vec!["local".to_owned()],
        None => vec![],
    };
    assert_eq!(announced.iter().take(1).cloned().collect::<Vec<_>>(), wanted, "{name}");
    assert_eq!(announced.len() > 1, outcome.repeated, "{name}");
    let text = |found: &Announcement| match found {
        Announcement::Malformed(line) => (Some(line.clone()), None),
        Announcement::Unfinished(line) => (None, Some(line.clone())),
        _ => (None, None),
    };
    let (malformed, unfinished): (Vec<_>, Vec<_>) = found.iter().map(text).unzip();
    assert_eq!(malformed.into_iter().flatten().next(), outcome.malformed, "{name}");
    assert_eq!(unfinished.into_iter().flatten().next(), outcome.unfinished, "{name}");
    assert_eq!(near_miss, outcome.near_miss, "{name}");
}

#[test]
fn progress_of_a_stream() {
    let file: ProgressFile = load("progress.json").unwrap();
    for vector in &file.vectors {
        let bytes = vector.bytes();
        for size in [bytes.len().max(1), 1, 7] {
            let mut found = None;
            let mut framer = LineFramer::new(8 * 1024);
            let mut read = |line: &pillion_protocol::Line<'_>| {
                found = progress::read(line).map(progress::words).or(found.take());
                assert!(
                    Announcement::read(line).is_none() || progress::read(line).is_none(),
                    "{}",
                    vector.name
                );
                let near_miss = NearMiss::on_stdout(line).or(NearMiss::on_stderr(line));
                assert!(near_miss.is_none() || progress::read(line).is_none(), "{}", vector.name);
            };
            bytes.chunks(size).for_each(|part| framer.feed(part, |line| read(&line)));
            framer.finish(|line| read(&line));
            // A host looks at stdout alone.
            let found = found.filter(|_| vector.stream.as_deref() != Some("stderr"));
            assert_eq!(found, vector.progress, "{}", vector.name);
        }
    }
}

#[test]
fn lines_of_progress() {
    let file: ProgressFile = load("progress.json").unwrap();
    for ProgressLine { name, words, line } in &file.lines {
        assert_eq!(progress_line(words), *line, "{name}");
    }
}

fn addr(found: &Announcement) -> Option<String> {
    match found {
        Announcement::Address(ListenAddr::Tcp(port)) => Some(format!("port {port}")),
        Announcement::Address(ListenAddr::Local) => Some("local".to_owned()),
        _ => None,
    }
}

#[test]
fn environments() {
    let file: Environments = load("environment.json").unwrap();
    // The crate does not read the variables of a listener, and leaves the entries of the origins to the server.
    let pure = |name: &&String| !name.starts_with("LISTEN_");
    for vector in &file.vectors {
        if vector.descriptor3.is_some() || vector.environment.keys().any(|name| !pure(&name)) {
            continue;
        }
        let value = |name: &str| -> Option<OsString> {
            let value = vector.environment.get(name)?;
            Some(value.replace("{free}", &PORT.to_string()).replace("{taken}", &PORT.to_string()).into())
        };
        let name = &vector.name;
        let read = HostEnvironment::read(value);
        if name == "taken port" || name.starts_with("invalid origin: ") {
            assert!(read.is_ok(), "{name}: {read:?}");
            continue;
        }
        assert_eq!(read.is_ok(), vector.outcome.starts, "{name}: {read:?}");
        let Ok(read) = read else {
            let hidden = vector.outcome.hides.as_deref();
            assert!(hidden.is_none_or(|secret| !format!("{read:?}").contains(secret)), "{name}");
            continue;
        };
        assert_eq!(
            read.port.is_some(),
            vector.environment.get("PORT").is_some_and(|port| !port.is_empty()),
            "{name}"
        );
        if let Some(private) = vector.outcome.private {
            assert_eq!(read.token.is_some(), private, "{name}");
        }
        if let Some(instance) = &vector.outcome.instance {
            assert_eq!(read.instance.map(|nonce| nonce.to_string()), *instance, "{name}");
        }
        let origins = read.allowed_origins.unwrap_or_else(|| TAURI_ORIGINS.map(str::to_owned).into());
        assert!(vector.outcome.allows.iter().all(|origin| origins.contains(origin)), "{name}: {origins:?}");
        // The server drops empty elements.
        let refused = vector.outcome.refuses.iter().filter(|origin| !origin.is_empty());
        assert!(refused.clone().all(|origin| !origins.contains(origin)), "{name}: {origins:?}");
    }
}

#[test]
fn admission_on_a_port() {
    admission("admission.json", AddressKind::Tcp);
    admission("websocket.json", AddressKind::Tcp);
    admission("proof.json", AddressKind::Tcp);
}

#[test]
fn admission_on_a_socket() {
    admission("admission.json", AddressKind::Socket);
    admission("websocket.json", AddressKind::Socket);
    admission("proof.json", AddressKind::Socket);
}

fn admission(file: &str, transport: AddressKind) {
    let file: Requests = load(file).unwrap();
    let addr = match transport {
        AddressKind::Tcp => ListenAddr::Tcp(PORT.try_into().unwrap()),
        AddressKind::Socket => ListenAddr::Local,
    };
    for (name, variables) in &file.environments {
        let environment = HostEnvironment::read(|name| variables.get(name).map(Into::into)).unwrap();
        let origins = environment.allowed_origins.unwrap_or_else(|| TAURI_ORIGINS.map(str::to_owned).into());
        let admission = Admission::new(addr, origins, environment.token);
        for vector in file.vectors.iter().filter(|vector| vector.environment == *name) {
            if vector.on.is_empty() || vector.on.contains(&transport) {
                check_admission(&admission, addr, &file, vector);
            }
        }
    }
}

fn check_admission(admission: &Admission, addr: ListenAddr, file: &Requests, vector: &RequestVector) {
    let host = addr.authority();
    let port = addr.port().map_or(1, u16::from).to_string();
    let fill = |line: &String| {
        line.replace("{host}", &host).replace("{port}", &port).replace("{token}", &file.token)
    };
    let lines: Vec<_> = vector.request.iter().map(fill).collect();
    let head = head(&lines);
    let is_health = head.path == "/health" && matches!(head.method, "GET" | "HEAD");
    let upgrades = matches!(head.upgrade, Field::One(upgrade) if upgrade.eq_ignore_ascii_case(b"websocket"));
    let decision = admission.decide(&head);
    let status = match decision {
        Decision::Serve if upgrades => 101,
        Decision::Serve | Decision::Alive => 200,
        Decision::Preflight => 204,
        Decision::Unauthorized => 401,
        Decision::Refuse(refusal) => refusal.status(),
        _ => panic!("unknown decision: {decision:?}"),
    };
    let name = &vector.name;
    assert!(vector.status.contains(&status), "{name}: {decision:?}");
    if let Some(reached) = vector.handler {
        assert_eq!(decision == Decision::Serve && !is_health, reached, "{name}");
    }
    if let (Some(Some(_)), Field::One(offered)) = (&vector.chosen, head.subprotocols) {
        let (own, offers_pillion) = without_bearer(offered);
        let own = String::from_utf8(own).unwrap();
        let sees: Vec<_> = own.split(", ").filter(|own| !own.is_empty()).map(str::to_owned).collect();
        assert_eq!(vector.sees.as_ref(), Some(&sees), "{name}");
        let chosen = if sees.iter().any(|own| own == "chat") {
            Some("chat")
        } else {
            offers_pillion.then_some("pillion")
        };
        assert_eq!(vector.chosen.as_ref().unwrap().as_deref(), chosen, "{name}");
    }
    if let Some(challenge) = &vector.proof {
        let headers = lines.iter().filter_map(|line| line.split_once(": "));
        let challenges = headers.filter(|it| it.0.eq_ignore_ascii_case("pillion-challenge"));
        // A server takes two for none.
        let read = match challenges.map(|(_, value)| value.as_bytes()).collect() {
            Field::One(value) => Challenge::read(value),
            _ => None,
        };
        let answered = read.filter(|_| decision == Decision::Alive).map(|challenge| challenge.to_string());
        assert_eq!(answered, *challenge, "{name}");
    }
}

/// Reads the lines of a request, as an HTTP library does.
fn head(lines: &[String]) -> Head<'_> {
    let mut words = lines[0].split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let field = |wanted: &str| {
        let values = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(':'))
            .filter(|it| it.0.eq_ignore_ascii_case(wanted));
        values.map(|(_, value)| value.trim_matches([' ', '\t']).as_bytes()).collect::<Field<'_>>()
    };
    let (scheme, authority, path) = match target.split_once("://") {
        Some((scheme, rest)) if !target.starts_with('/') => {
            let end = rest.find('/').unwrap_or(rest.len());
            (Some(scheme), Some(&rest[..end]), &rest[end..])
        }
        _ if method == "CONNECT" => (None, Some(target), ""),
        _ => (None, None, target),
    };
    let mut head = Head::new(method, path.split('?').next().unwrap());
    (head.scheme, head.authority) = (scheme, authority);
    head.host = field("host");
    head.origin = field("origin");
    head.authorization = field("authorization");
    head.requested_method = field("access-control-request-method");
    head.upgrade = field("upgrade");
    head.subprotocols = field("sec-websocket-protocol");
    head
}

#[test]
fn proofs() {
    let file: Requests = load("proof.json").unwrap();
    for vector in &file.proofs {
        let token: Token = vector.token.parse().unwrap();
        let addr = vector
            .address
            .strip_prefix("127.0.0.1:")
            .map_or(ListenAddr::Local, |port| ListenAddr::Tcp(port.parse().unwrap()));
        let challenge = Challenge::read(vector.challenge.as_bytes()).unwrap();
        assert_eq!(token.prove(addr, challenge), vector.proof, "{}", vector.name);
        assert!(token.is_proved_by(vector.proof.as_bytes(), addr, challenge), "{}", vector.name);
    }
    assert!(!file.proofs.is_empty());
}

#[test]
fn names_are_unique() {
    let mut names = std::collections::BTreeMap::new();
    let announcements: Announcements = load("announcement.json").unwrap();
    let environments: Environments = load("environment.json").unwrap();
    names.insert(
        "announcement",
        announcements.vectors.into_iter().map(|vector| vector.name).collect::<Vec<_>>(),
    );
    names.insert("environment", environments.vectors.into_iter().map(|vector| vector.name).collect());
    let progress: ProgressFile = load("progress.json").unwrap();
    let lines = progress.lines.into_iter().map(|vector| format!("line: {}", vector.name));
    names.insert("progress", progress.vectors.into_iter().map(|vector| vector.name).chain(lines).collect());
    for file in ["admission", "websocket", "proof"] {
        let requests: Requests = load(&format!("{file}.json")).unwrap();
        let proofs = requests.proofs.into_iter().map(|vector| format!("proof: {}", vector.name));
        names.insert(file, requests.vectors.into_iter().map(|vector| vector.name).chain(proofs).collect());
    }
    for (file, mut names) in names {
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{file}.json has a name twice");
    }
}
