//! The variables of the host (docs/protocol.md, section 4).

use std::{
    env,
    fs::{self, OpenOptions},
    os::unix::{fs::FileExt as _, process::CommandExt as _},
    process::Command,
};

use crate::Mutation;

#[derive(Debug)]
pub(crate) struct HostEnvironment {
    pub(crate) token: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) origins: Vec<String>,
    /// 0: the system chooses.
    pub(crate) port: u16,
    /// Descriptor 3 is for this process.
    pub(crate) inherited: bool,
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) fn read(mutation: &Mutation) -> Result<HostEnvironment, String> {
    if mutation.is("unknown-variable") && env::var_os("PILLION_FUTURE").is_some() {
        return Err("PILLION_FUTURE is unknown".to_owned());
    }
    for (name, variable) in
        [("empty-port", "PORT"), ("empty-token", "PILLION_TOKEN"), ("empty-instance", "PILLION_INSTANCE")]
    {
        if mutation.is(name) && env::var_os(variable).is_some_and(|value| value.is_empty()) {
            return Err(format!("{variable} is empty"));
        }
    }
    if let Some(version) = variable("PILLION_PROTOCOL") {
        let fits = if mutation.is("protocol-by-its-first-digit") {
            version.starts_with('1')
        } else {
            version == "1" || version.starts_with("1.")
        };
        if !fits && !mutation.is("protocol-unchecked") {
            return Err(format!(
                "the host speaks version {version:?} of the protocol, and this program speaks version 1"
            ));
        }
    }
    let inherited = inherited(mutation)?;
    let token = token(mutation)?;
    let instance = variable("PILLION_INSTANCE");
    if instance.as_ref().is_some_and(|instance| !is_hexadecimal(instance, 32))
        && !mutation.is("instance-unchecked")
    {
        return Err("PILLION_INSTANCE is not 32 lower-case hexadecimal digits".to_owned());
    }
    let port = if inherited && !mutation.is("handover-port-checked") { 0 } else { port(mutation)? };
    Ok(HostEnvironment { token, instance, origins: origins(mutation)?, port, inherited })
}

fn inherited(mutation: &Mutation) -> Result<bool, String> {
    let pid = std::process::id().to_string();
    let named = variable("LISTEN_PID");
    if mutation.is("listen-pid-ignored")
        && env::var_os("LISTEN_FDS").is_some()
        && named.as_ref() != Some(&pid)
    {
        // The library that takes the descriptor compares the process id too.
        let arguments = env::args_os().skip(1);
        let error = Command::new(env::current_exe().unwrap()).args(arguments).env("LISTEN_PID", pid).exec();
        return Err(error.to_string());
    }
    if named != Some(pid) || mutation.is("handover-ignored") {
        return Ok(false);
    }
    match env::var("LISTEN_FDS").as_deref() {
        Ok("1") => Ok(true),
        _ if mutation.is("listen-fds-ignored") => Ok(false),
        other => Err(format!("LISTEN_FDS is {other:?}, not 1")),
    }
}

fn token(mutation: &Mutation) -> Result<Option<String>, String> {
    let Some(token) = variable("PILLION_TOKEN") else { return Ok(None) };
    if !mutation.is("environ-kept") {
        overwrite(&token);
    }
    if is_hexadecimal(&token, 64) {
        return Ok(Some(token));
    }
    if mutation.is("token-of-any-length") && token.len() < 64
        || mutation.is("token-in-upper-case") && is_hexadecimal(&token.to_lowercase(), 64)
        || mutation.is("token-of-any-letters") && token.len() == 64 && token.starts_with('g')
    {
        return Ok(Some(token));
    }
    if mutation.is("invalid-token-ignored") {
        return Ok(None);
    }
    let shown = if mutation.is("token-in-error") { token } else { "its value".to_owned() };
    Err(format!("PILLION_TOKEN: {shown} is not 64 lower-case hexadecimal digits"))
}

/// Overwrites the token in the initial environment block (`proc_pid_environ(5)`), from which children inherit too.
fn overwrite(token: &str) {
    let block = fs::read("/proc/self/environ").unwrap();
    let entry = format!("PILLION_TOKEN={token}\0");
    let Some(offset) = block.windows(entry.len()).position(|part| part == entry.as_bytes()) else { return };
    // The second field may contain anything; the 50th is `env_start` (`proc_pid_stat(5)`).
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(50 - 3).unwrap().parse().unwrap();
    let memory = OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
    let value = start + (offset + "PILLION_TOKEN=".len()) as u64;
    memory.write_all_at("-".repeat(token.len()).as_bytes(), value).unwrap();
}

fn port(mutation: &Mutation) -> Result<u16, String> {
    let Some(text) = variable("PORT") else { return Ok(0) };
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port @ 1..) if plain => Ok(port),
        _ if mutation.is("invalid-port-ignored")
            || mutation.is("port-zero") && text == "0"
            || mutation.is("port-out-of-range") && text == "65536"
            || mutation.is("port-with-sign") && text.starts_with('+')
            || mutation.is("port-with-space") && text.starts_with(' ') =>
        {
            Ok(0)
        }
        _ => Err(format!("PORT is {text:?}: set it to a number from 1 to 65535, or unset it")),
    }
}

fn origins(mutation: &Mutation) -> Result<Vec<String>, String> {
    let tauri = ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"].map(str::to_owned);
    let Some(list) = variable("PILLION_ALLOWED_ORIGINS") else {
        return Ok(if mutation.is("one-origin") { tauri[..1].to_vec() } else { tauri.to_vec() });
    };
    let mut origins = Vec::new();
    for origin in list.split(',') {
        let origin = if mutation.is("origins-not-trimmed") { origin } else { origin.trim_matches(' ') };
        match origin {
            "" => {}
            "*" if mutation.is("origin-star-allowed") => origins.push(origin.to_owned()),
            "null" if mutation.is("origin-null-allowed") => origins.push(origin.to_owned()),
            "*" | "null" => return Err(format!("PILLION_ALLOWED_ORIGINS lists {origin}")),
            _ => origins.push(origin.to_owned()),
        }
    }
    if mutation.is("origins-added") || mutation.is("empty-list-is-default") && origins.is_empty() {
        origins.extend(tauri);
    }
    Ok(origins)
}
