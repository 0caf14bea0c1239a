//! The `main` of a program whose builder is in its library: what it does before the library's first line, where the guard comes too late.

use syn::{Expr, Item, ItemFn, Stmt};

use super::builder::{NotAdded, bytes, guard_line, is_plain, parse};

/// What the `main` of a program does whose builder is in the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Main {
    /// It calls the library, and nothing before.
    CallsAlone,
    /// It does more: a log, a thread, a runtime.
    DoesMore,
    /// A runtime has started threads before its first line, and a guard must have one alone.
    Async,
}

/// Reads the `main` in this file. One that is not found counts as the usual one.
pub(super) fn main_of(code: &str) -> Main {
    let Ok(parsed) = parse(code) else { return Main::CallsAlone };
    match main_function(&parsed) {
        Some(main) if main.sig.asyncness.is_some() => Main::Async,
        Some(main) => match main.block.stmts.as_slice() {
            [] => Main::CallsAlone,
            [Stmt::Expr(Expr::Call(call), _)] if call.args.iter().all(is_plain_call) => Main::CallsAlone,
            _ => Main::DoesMore,
        },
        None => Main::CallsAlone,
    }
}

/// Whether this is a call without arguments, such as that of the library within `std::process::exit(…)`. A closure or a block may run on
/// another thread.
fn is_plain_call(argument: &Expr) -> bool {
    matches!(argument, Expr::Call(call) if call.args.is_empty())
}

fn main_function(file: &syn::File) -> Option<&ItemFn> {
    file.items.iter().find_map(|item| match item {
        Item::Fn(function) if function.sig.ident == "main" => Some(function),
        _ => None,
    })
}

/// Adds the line of the guard alone, at the head of `main`.
pub(super) fn add_guard(code: &str) -> Result<String, NotAdded> {
    let parsed = parse(code)?;
    let main = main_function(&parsed).filter(|main| is_plain(main));
    let open = main.map(|main| bytes(main.block.brace_token.span.open()).end);
    // syn leaves a first line out that begins with `#!`, and counts from there.
    match open.and_then(|open| code.split_at_checked(open)).filter(|(head, _)| head.ends_with('{')) {
        Some((head, body)) => Ok(format!("{head}{}{body}", guard_line(body))),
        None => Err(NotAdded::Unknown("the place of `main` is not clear")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::builder::{GUARD_LINE, LINE, add_plugin, has_guard};

    #[test]
    fn a_main_that_does_more_than_to_call_the_library_is_told_from_others() {
        for (main, expected) in [
            ("fn main() { app_lib::run() }", Main::CallsAlone),
            ("fn main() { app_lib::run(); }", Main::CallsAlone),
            ("fn main() { std::process::exit(app_lib::run()) }", Main::CallsAlone),
            ("#[tokio::main]\nasync fn main() { app_lib::run() }", Main::Async),
            ("fn main() { log::init(); app_lib::run() }", Main::DoesMore),
            ("fn main() { Runtime::new().unwrap().block_on(async { app_lib::run() }) }", Main::DoesMore),
            ("fn main() { tauri::async_runtime::block_on(async { app_lib::run() }) }", Main::DoesMore),
            ("fn main() { std::thread::spawn(app_lib::run) }", Main::DoesMore),
            ("mod other { async fn main() {} }", Main::CallsAlone),
            ("fn main( {", Main::CallsAlone),
        ] {
            assert_eq!(main_of(main), expected, "{main}");
        }
        let expected = format!("fn main() {{\n    {GUARD_LINE}\n    log::init();\n    run();\n}}\n");
        assert_eq!(add_guard("fn main() {\n    log::init();\n    run();\n}\n"), Ok(expected));
        assert!(add_guard("async fn main() {}").is_err() && add_guard("fn run() {}").is_err());
        let code = "pub fn run() { tauri::Builder::default().run(context()); }";
        assert!(add_plugin(code, false).is_ok_and(|added| !has_guard(&added) && added.contains(LINE)));
        assert!(add_plugin(code, true).is_ok_and(|added| has_guard(&added)));
    }
}
