//! Rule 4: the token, the origins and other variables.

use crate::check::{
    harness::{Ended, Harness, INSTANCE, Started, TOKEN, Variables, quoted},
    report::Verdict,
    run::Run,
};

/// Values that are not a token, though each contains most of one.
fn invalid_tokens() -> [String; 4] {
    [TOKEN[1..].to_owned(), format!("{TOKEN}0"), TOKEN.to_uppercase(), "g".repeat(TOKEN.len())]
}

pub(super) fn needs_private(harness: &Harness) -> Result<(), Verdict> {
    if harness.settings.private {
        Ok(())
    } else {
        Err(Verdict::NotChecked("--public: the program gets no token".to_owned()))
    }
}

/// A start with an invalid token.
#[derive(Debug, Clone)]
pub(in crate::check) struct InvalidToken {
    token: String,
    /// `None` if it did not refuse to start.
    ended: Option<Ended>,
}

fn with_invalid_tokens(harness: &Harness) -> Result<Vec<InvalidToken>, Verdict> {
    needs_private(harness)?;
    let start = |token: String| {
        let started = harness.launch(harness.start().set("PILLION_TOKEN", token.as_str()))?;
        let ended = if let Started::Ended(ended) = started { Some(ended) } else { None };
        Ok(InvalidToken { token, ended })
    };
    let starts = || invalid_tokens().into_iter().map(start).collect();
    harness.shared.invalid_tokens.get_or_init(starts).clone()
}

pub(in crate::check) fn token_invalid(harness: &Harness) -> Result<Verdict, Verdict> {
    let (mut kept, mut broken) = (Vec::new(), Vec::new());
    for InvalidToken { token, ended } in with_invalid_tokens(harness)? {
        match ended {
            Some(ended) => kept.push(format!("PILLION_TOKEN={token}: it {}", ended.exit)),
            None => broken.push(format!("PILLION_TOKEN={token}: it did not refuse to start")),
        }
    }
    Ok(Verdict::unless(&broken, kept.join(", ")))
}

pub(in crate::check) fn protocol_version(harness: &Harness) -> Result<Verdict, Verdict> {
    let versions = ["2", "0", "10", "one"].map(|version| ("PILLION_PROTOCOL", version));
    super::announce::refuses(harness, &versions)
}

/// No output contains a token, neither a valid nor an invalid one.
pub(in crate::check) fn token_hidden(harness: &Harness) -> Result<Verdict, Verdict> {
    let mut broken = Vec::new();
    let mut look = |when: &str, token: &str, stdout: &[u8], stderr: &[u8]| {
        for (name, output) in [("stdout", stdout), ("stderr", stderr)] {
            let found = output.split(|byte| *byte == b'\n').find(|line| contains(line, token));
            broken.extend(found.map(|line| format!("{when}{}", quoted(name, line))));
        }
    };
    for InvalidToken { token, ended } in with_invalid_tokens(harness)? {
        if let Some(ended) = ended {
            look("with an invalid token", &token, &ended.stdout, &ended.stderr);
        }
    }
    let run = harness.run(harness.start())?;
    for request in ["GET /health", "GET /", "POST /"] {
        let _ = run.get(request, true);
    }
    let _ = run.signal(rustix::process::Signal::TERM);
    let _ = run.wait_exit(super::stop::LIMIT);
    let (stdout, stderr) = run.output();
    look("with a valid token", TOKEN, &stdout, &stderr);
    Ok(Verdict::unless(&broken, "neither stdout nor stderr contains the token"))
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// The status of health for a page of this origin.
fn status_for(harness: &Harness, run: &Run, origin: &str) -> Result<u16, Verdict> {
    use pillion_vectors::Server as _;
    let head = run.head("GET /health", harness.settings.private);
    let request = format!("{head}Origin: {origin}\r\nConnection: close\r\n\r\n");
    let answer = run.exchange(request.as_bytes(), true);
    Ok(answer.map_err(|error| Verdict::NotChecked(format!("GET /health: {error:#}")))?.status)
}

pub(in crate::check) fn origins(harness: &Harness) -> Result<Verdict, Verdict> {
    needs_private(harness)?;
    // The value, origins that it allows, and one that it does not. `origin` checks the default.
    let lists: [(&str, &[&str], &str); 3] = [
        (" http://localhost:1420 , app://x ", &["http://localhost:1420", "app://x"], "tauri://localhost"),
        (",tauri://localhost,, ", &["tauri://localhost"], "http://tauri.localhost"),
        (",", &[], "tauri://localhost"),
    ];
    let mut broken = Vec::new();
    for (list, allowed, refused) in lists {
        let run = harness.run(harness.start().set("PILLION_ALLOWED_ORIGINS", list))?;
        for origin in allowed {
            let status = status_for(harness, &run, origin)?;
            if status == 403 {
                broken.push(format!("PILLION_ALLOWED_ORIGINS={list:?}: Origin: {origin} gets {status}"));
            }
        }
        let status = status_for(harness, &run, refused)?;
        // A program that checks no origin breaks the rule `origin`.
        if status != 403 && status_for(harness, &run, "https://evil.example")? == 403 {
            broken.push(format!("PILLION_ALLOWED_ORIGINS={list:?}: Origin: {refused} gets {status}"));
        }
    }
    Ok(Verdict::unless(&broken, "each list allows its elements and no other origin"))
}

pub(in crate::check) fn origins_invalid(harness: &Harness) -> Result<Verdict, Verdict> {
    needs_private(harness)?;
    super::announce::refuses(
        harness,
        &[("PILLION_ALLOWED_ORIGINS", "*"), ("PILLION_ALLOWED_ORIGINS", "tauri://localhost,null")],
    )
}

/// Whether the program starts with these variables, and serves without a token.
fn serves_all(harness: &Harness, variables: Variables, shown: &str) -> Result<Verdict, Verdict> {
    match harness.launch(harness.start_with(variables))? {
        Started::Announced(run) => {
            let answer = run.get("GET /no-such-path", false);
            let answer = answer.map_err(|error| Verdict::NotChecked(format!("{shown}: {error:#}")))?;
            Ok(match answer.status {
                401 => Verdict::Broken(format!("{shown}: a request without a token gets 401")),
                status => Verdict::Kept(format!("{shown}: it starts; GET /no-such-path: {status}")),
            })
        }
        Started::Ended(ended) => Ok(Verdict::Broken(format!("{shown}: {}", ended.text()))),
        Started::Silent(_) => Ok(Verdict::Broken(format!("{shown}: no announcement"))),
    }
}

pub(in crate::check) fn empty_variables(harness: &Harness) -> Result<Verdict, Verdict> {
    let names = ["PORT", "PILLION_INSTANCE", "PILLION_TOKEN", "PILLION_ALLOWED_ORIGINS", "LISTEN_PID"];
    let variables = names.iter().map(|name| ((*name).to_owned(), String::new())).collect();
    serves_all(harness, variables, &names.map(|name| format!("{name}=")).join(" "))
}

pub(in crate::check) fn unknown_variables(harness: &Harness) -> Result<Verdict, Verdict> {
    let mut variables = Variables::new();
    variables.insert("PILLION_FUTURE".to_owned(), "x".to_owned());
    variables.insert("PILLION_INSTANCE".to_owned(), INSTANCE.to_owned());
    serves_all(harness, variables, "PILLION_FUTURE=x")
}

/// A place in `/proc` where the token stands.
#[derive(Debug, Clone)]
pub(in crate::check) struct Exposure {
    file: &'static str,
    /// Of the program itself, not of another process.
    of_program: bool,
    text: String,
}

#[cfg(target_os = "linux")]
fn exposures(harness: &Harness) -> Result<Vec<Exposure>, Verdict> {
    use crate::check::processes;
    needs_private(harness)?;
    let look = || {
        let run = harness.run(harness.start())?;
        for request in ["GET /health", "GET /"] {
            let _ = run.get(request, true);
        }
        let all = processes::of_run(&run).map_err(|error| Verdict::NotChecked(format!("/proc: {error}")))?;
        let program = run.pid();
        let mut found = Vec::new();
        for process in &all {
            let start = processes::start_strings(process);
            for (file, strings) in [("environ", start.environment), ("cmdline", start.arguments)] {
                if contains(&strings, TOKEN) {
                    let text = format!("/proc/{}/{file} of {} contains the token", process.pid, process.name);
                    found.push(Exposure { file, of_program: Some(process.pid) == program, text });
                }
            }
        }
        Ok(found)
    };
    harness.shared.exposures.get_or_init(look).clone()
}

#[cfg(not(target_os = "linux"))]
fn exposures(harness: &Harness) -> Result<Vec<Exposure>, Verdict> {
    needs_private(harness)?;
    Err(Verdict::NotChecked("the environment of other processes is visible only on Linux".to_owned()))
}

fn exposed(harness: &Harness, counts: impl Fn(&Exposure) -> bool, kept: &str) -> Result<Verdict, Verdict> {
    let found = exposures(harness)?.into_iter().filter(counts).map(|exposure| exposure.text);
    Ok(Verdict::unless(&found.collect::<Vec<_>>(), kept))
}

pub(in crate::check) fn environ(harness: &Harness) -> Result<Verdict, Verdict> {
    let counts = |exposure: &Exposure| exposure.file == "environ" && exposure.of_program;
    exposed(harness, counts, "/proc/PID/environ of the program does not contain the token")
}

pub(in crate::check) fn environ_children(harness: &Harness) -> Result<Verdict, Verdict> {
    let counts = |exposure: &Exposure| exposure.file == "environ" && !exposure.of_program;
    exposed(harness, counts, "no other process of the program has the token in its environment")
}

pub(in crate::check) fn arguments(harness: &Harness) -> Result<Verdict, Verdict> {
    exposed(harness, |exposure| exposure.file == "cmdline", "no argument of a process contains the token")
}
