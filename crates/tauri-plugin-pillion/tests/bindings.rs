//! Generates the TypeScript types from the Rust types. `cargo xtask codegen` writes them.

use std::{env, fs, path::Path};

use pillion::{
    Access, Detail, EndReason, Endpoint, Exit, ExitReport, Failure, FailureKind, KillReason, Killed, Level,
    Log, LogEntry, MemoryKind, OutputStream, Readiness, State, Status, Usage,
};
use ts_rs::{Config, TS};

fn bindings() -> String {
    let types = [
        declaration::<State>(),
        declaration::<Readiness>(),
        declaration::<Exit>(),
        declaration::<FailureKind>(),
        declaration::<Detail>(),
        declaration::<Failure>(),
        declaration::<Status>(),
        declaration::<Endpoint>(),
        declaration::<Access>(),
        declaration::<OutputStream>(),
        declaration::<Level>(),
        declaration::<LogEntry>(),
        declaration::<Log>(),
        declaration::<EndReason>(),
        declaration::<KillReason>(),
        declaration::<Killed>(),
        declaration::<ExitReport>(),
        declaration::<MemoryKind>(),
        declaration::<Usage>(),
    ];
    format!(
        "// Generated from Rust by tests/bindings.rs (`cargo xtask codegen`): the values that the app sends to the page.\n{}",
        types.concat()
    )
}

fn declaration<T: TS>() -> String {
    // Only the first paragraph: later ones can hold Rust examples.
    let docs = T::docs().unwrap_or_default();
    let docs = match docs.split_once("\n *\n") {
        Some((summary, _)) => format!("{summary}\n */\n"),
        None => docs,
    };
    let declaration = T::decl(&Config::default());
    let lines: Vec<_> = declaration.lines().map(str::trim_end).collect();
    in_typescript(&format!("\n{docs}export {}\n", lines.join("\n")))
}

/// Translates the doc comments: links to Rust items become names, `Type::field` becomes `Type.field`, a variant becomes its
/// string, and `None` becomes `null`.
fn in_typescript(rust: &str) -> String {
    let mut typescript = String::new();
    let mut rest = rust;
    while let Some((before, link)) = rest.split_once('[') {
        typescript.push_str(before);
        rest = link;
        // Only comments contain links: a type has no space or backtick between brackets.
        let Some((text, after)) = link.split_once(']') else { break };
        let target = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        match target {
            Some((target, after)) if !target.contains("://") => {
                typescript.push_str(text);
                rest = after;
            }
            None if text.starts_with('`') => {
                typescript.push_str(text);
                rest = after;
            }
            _ => typescript.push('['),
        }
    }
    typescript.push_str(rest);
    let quoted = typescript.split('`').enumerate();
    let translated: Vec<_> =
        quoted.map(|(index, text)| if index % 2 == 1 { name(text) } else { text.to_owned() }).collect();
    translated.join("`")
}

/// The name of a Rust item in TypeScript.
fn name(item: &str) -> String {
    match item.rsplit_once("::") {
        None if item == "None" => "null".to_owned(),
        None => item.to_owned(),
        Some((_, variant)) if variant.starts_with(char::is_uppercase) => {
            format!("\"{}{}\"", variant[..1].to_lowercase(), &variant[1..])
        }
        Some((path, field)) => format!("{}.{field}", path.rsplit("::").next().unwrap_or(path)),
    }
}

#[test]
fn generated_bindings_are_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-js/bindings.ts");
    if env::var_os("PILLION_CODEGEN").is_some() {
        fs::write(&file, bindings()).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written, bindings(), "guest-js/bindings.ts is out of date: run `cargo xtask codegen`");
}

#[test]
fn doc_comments_speak_typescript() {
    for (rust, typescript) in [
        ("As in [`Endpoint`](crate::Endpoint).", "As in `Endpoint`."),
        ("[`Endpoint::url`] while ready", "`Endpoint.url` while ready"),
        ("`None` if it is not [private](crate::Program::private)", "`null` if it is not private"),
        ("[`FailureKind::NoPort`]", "`\"noPort\"`"),
        (
            "[RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)",
            "[RFC 9110](https://www.rfc-editor.org/rfc/rfc9110)",
        ),
        ("tail: string[], x: [number]", "tail: string[], x: [number]"),
    ] {
        assert_eq!(in_typescript(rust), typescript);
    }
    for word in ["`None`", "::", "(crate"] {
        assert!(!bindings().contains(word), "{word}");
    }
}
