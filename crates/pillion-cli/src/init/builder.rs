//! The lines in the app's Rust code: one registers the plugin, one lets the program be the guard of a killed app.

use std::ops::Range;

use proc_macro2::Span;
use syn::{
    AttrStyle, Expr, ExprCall, ExprMethodCall, Path,
    spanned::Spanned as _,
    visit::{self, Visit},
};

/// What the app's code needs.
pub(super) const LINE: &str = ".plugin(tauri_plugin_pillion::init())";
/// The first statement of the function with the builder.
pub(super) const GUARD_LINE: &str = "tauri_plugin_pillion::guard::run_if_asked();";
/// The functions that are known to be called first in a process; `run` is that of Tauri's templates.
const FIRST_FUNCTIONS: [&str; 2] = ["main", "run"];
const CRATE: &str = "tauri_plugin_pillion";
/// Its module whose use does not register the plugin.
const GUARD: &str = "guard";
/// Ends the second launch of an app. It must be registered before sidecars are started.
const SINGLE_INSTANCE: &str = "tauri_plugin_single_instance";

/// Why the line was not added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotAdded {
    /// The code already uses the plugin.
    Present,
    /// The code has no builder that this tool recognises; the reason says more.
    Unknown(&'static str),
}

/// Adds the line to the builder of the app, after tauri-plugin-single-instance if that is registered in the same chain of calls, and the
/// line of the guard to the head of the function, if that is `main` or `run` and `calls_first` says that nothing comes before it.
///
/// The code is parsed to find the place, and changed nowhere else. Its lines end with `\n`.
pub(super) fn add_plugin(code: &str, calls_first: bool) -> Result<String, NotAdded> {
    let parsed = parse(code)?;
    let mut found = Found::default();
    found.visit_file(&parsed);
    if found.plugin {
        return Err(NotAdded::Present);
    }
    let [builder] = found.builders.as_slice() else {
        return Err(NotAdded::Unknown(match found.builders.len() {
            0 => "the file has no `tauri::Builder::default()`",
            _ => "the file has several `tauri::Builder::default()`",
        }));
    };
    if found.single_instance > usize::from(builder.single_instance.is_some()) {
        return Err(NotAdded::Unknown(
            "tauri-plugin-single-instance is registered in another statement, and must be registered first",
        ));
    }
    let after = builder.single_instance.unwrap_or(builder.end);
    // syn leaves a first line out that begins with `#!`, and counts from there.
    let Some((before, rest)) = code.split_at_checked(after).filter(|(before, _)| before.ends_with(')'))
    else {
        return Err(NotAdded::Unknown("the place of the builder is not clear"));
    };
    let (head, before) = match builder.function.and_then(|open| before.split_at_checked(open)) {
        Some((head, body)) if calls_first && head.ends_with('{') && !found.guard => {
            (format!("{head}{}", guard_line(body)), body)
        }
        _ => (String::new(), before),
    };
    Ok(format!("{head}{before}{}{LINE}{rest}", gap(before, rest)))
}

pub(super) fn parse(code: &str) -> Result<syn::File, NotAdded> {
    syn::parse_file(code).map_err(|_| {
        NotAdded::Unknown("the file cannot be parsed as Rust; correct it, and run the command again")
    })
}

/// Whether the code calls the guard.
pub(super) fn has_guard(code: &str) -> bool {
    let mut found = Found::default();
    if let Ok(parsed) = parse(code) {
        found.visit_file(&parsed);
    }
    found.guard
}

/// Whether its first statement can be the line of the guard.
pub(super) fn is_plain(function: &syn::ItemFn) -> bool {
    // Attributes of the body come before its first statement.
    let inner = function.attrs.iter().any(|attribute| matches!(attribute.style, AttrStyle::Inner(_)));
    // A runtime has started threads before an `async fn main`, and a guard must have one alone.
    !inner && function.sig.asyncness.is_none()
}

/// The line of the guard at the head of a function's body: on a line of its own, unless the body begins on the line of its brace.
pub(super) fn guard_line(body: &str) -> String {
    match body.strip_prefix('\n') {
        Some(lines) => {
            let line = lines.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            format!("\n{}{GUARD_LINE}", &line[..line.len() - line.trim_start().len()])
        }
        None => format!(" {GUARD_LINE}"),
    }
}

/// Whether the code has a builder, to choose among several files.
pub(super) fn has_builder(code: &str) -> bool {
    let mut found = Found::default();
    if let Ok(parsed) = syn::parse_file(code) {
        found.visit_file(&parsed);
    }
    found.plugin || !found.builders.is_empty()
}

/// What stands before the new call: nothing in a chain on one line, otherwise a new line that is indented as the next one.
fn gap(before: &str, rest: &str) -> String {
    let same_line = rest.split('\n').next().unwrap_or_default();
    if !same_line.trim().is_empty() && !same_line.trim_start().starts_with("//") {
        return String::new();
    }
    let line_of = |text: &str| text.rsplit('\n').next().unwrap_or_default().to_owned();
    let indent_of = |line: &str| line[..line.len() - line.trim_start().len()].to_owned();
    let next_call = rest.lines().skip(1).find(|line| line.trim_start().starts_with('.'));
    let indent = match next_call {
        Some(line) => indent_of(line),
        None => format!("{}    ", indent_of(&line_of(before))),
    };
    format!("\n{indent}")
}

/// A call of `tauri::Builder::default()` or `new()`.
#[derive(Debug)]
struct Builder {
    /// The byte after its closing parenthesis.
    end: usize,
    /// The byte after the call in its chain that registers tauri-plugin-single-instance.
    single_instance: Option<usize>,
    /// The byte after the brace that opens its function, if that is called first in a process.
    function: Option<usize>,
}

#[derive(Debug, Default)]
struct Found {
    builders: Vec<Builder>,
    /// The function that is visited, as [`Builder::function`].
    function: Option<usize>,
    /// Whether the code uses the plugin for more than its guard.
    plugin: bool,
    /// Whether it calls the guard.
    guard: bool,
    /// How often the code calls tauri-plugin-single-instance.
    single_instance: usize,
}

impl Found {
    fn builder_at(&mut self, end: usize) -> Option<&mut Builder> {
        self.builders.iter_mut().find(|builder| builder.end == end)
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let first = is_plain(item) && FIRST_FUNCTIONS.iter().any(|name| item.sig.ident == name);
        let open = first.then(|| bytes(item.block.brace_token.span.open()).end);
        let outer = std::mem::replace(&mut self.function, open);
        visit::visit_item_fn(self, item);
        self.function = outer;
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let mut after = path.segments.iter().skip_while(|segment| segment.ident != CRATE);
        if after.next().is_some() {
            let guard = after.next().is_some_and(|segment| segment.ident == GUARD);
            self.guard |= guard;
            self.plugin |= !guard;
        }
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if let syn::UseTree::Path(path) = &item.tree
            && path.ident == CRATE
        {
            let guard = is_guard(&path.tree);
            self.guard |= guard;
            self.plugin |= !guard;
        }
        visit::visit_item_use(self, item);
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(function) = &*call.func {
            let segments: Vec<_> =
                function.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            if let [.., kind, name] = segments.as_slice()
                && kind == "Builder"
                && (name == "default" || name == "new")
                && segments.first().is_some_and(|first| first == "tauri" || first == "Builder")
            {
                let (end, function) = (bytes(call.span()).end, self.function);
                self.builders.push(Builder { end, single_instance: None, function });
            }
            self.single_instance +=
                usize::from(segments.first().is_some_and(|first| first == SINGLE_INSTANCE));
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        // First what is inside, so that the builder at the head of the chain is known.
        visit::visit_expr_method_call(self, call);
        let registers = call.method == "plugin" && call.args.iter().any(is_single_instance);
        if registers {
            let mut head = &*call.receiver;
            while let Expr::MethodCall(inner) = head {
                head = &inner.receiver;
            }
            let (head, end) = (bytes(head.span()).end, bytes(call.span()).end);
            if let Some(builder) = self.builder_at(head) {
                builder.single_instance = Some(end);
            }
        }
    }
}

/// Whether a `use` of the crate names its module for the guard alone.
fn is_guard(tree: &syn::UseTree) -> bool {
    match tree {
        syn::UseTree::Path(path) => path.ident == GUARD,
        syn::UseTree::Name(name) => name.ident == GUARD,
        _ => false,
    }
}

/// Whether an argument is a call such as `tauri_plugin_single_instance::init(…)`.
fn is_single_instance(argument: &Expr) -> bool {
    match argument {
        Expr::Call(call) => match &*call.func {
            Expr::Path(function) => {
                function.path.segments.first().is_some_and(|first| first.ident == SINGLE_INSTANCE)
            }
            _ => false,
        },
        Expr::MethodCall(call) => is_single_instance(&call.receiver),
        _ => false,
    }
}

pub(super) fn bytes(span: Span) -> Range<usize> {
    span.byte_range()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The call must be added at the place of `@`, and the line of the guard at that of `^`; each may be a line of its own.
    fn check(marked: &str) {
        let code: Vec<_> = marked.split('\n').filter(|line| !["@", "^"].contains(&line.trim())).collect();
        let code = code.join("\n").replace('@', "").replace(" ^", "");
        assert_eq!(add_plugin(&code, true), Ok(marked.replace('@', LINE).replace('^', GUARD_LINE)), "{code}");
    }

    #[test]
    fn the_stock_template_gets_a_line_of_its_own() {
        let code = "#[cfg_attr(mobile, tauri::mobile_entry_point)]\npub fn run() {\n    tauri::Builder::default()\n        \
            .plugin(tauri_plugin_opener::init())\n        .run(tauri::generate_context!())\n        .expect(\"error\");\n}\n";
        let line = "    tauri::Builder::default()\n";
        let expected = code.replace(line, &format!("    {GUARD_LINE}\n{line}        {LINE}\n"));
        assert_eq!(add_plugin(code, true), Ok(expected.clone()));
        assert_eq!(add_plugin(&expected, true), Err(NotAdded::Present));
    }

    #[test]
    fn every_form_of_a_builder_is_found() {
        check("fn main() { ^ tauri::Builder::default()@.run(context()).unwrap(); }");
        check("fn main() { ^ tauri::Builder::<tauri::Wry>::new()@.run(context()).unwrap(); }");
        check(
            "use tauri::Builder;\nfn main() { ^ let builder = Builder::default()@; builder.run(context()).unwrap(); }",
        );
        check(
            "fn main() {\n\t^\n\ttauri::Builder::default()\n\t\t@\n\t\t.run(context())\n\t\t.unwrap();\n}\n",
        );
        check(
            "// é and \u{1F600} before it\nfn main() { ^ tauri::Builder::default()@.run(context()).unwrap(); }",
        );
    }

    #[test]
    fn comments_and_texts_are_no_builders() {
        check(
            "// tauri::Builder::default()\nconst TEXT: &str = \"tauri::Builder::default()\";\n\
             fn main() { ^ tauri::Builder::default()@.run(context()).unwrap(); }",
        );
        assert_eq!(
            add_plugin("// tauri::Builder::default()\nfn main() {}", true),
            Err(NotAdded::Unknown("the file has no `tauri::Builder::default()`"))
        );
    }

    #[test]
    fn a_comment_after_the_builder_stays_beside_it() {
        let code = "fn main() {\n    tauri::Builder::default() // first\n        .run(context());\n}\n";
        let expected = "fn main() {\n    tauri_plugin_pillion::guard::run_if_asked();\n    tauri::Builder::default()\n        .plugin(tauri_plugin_pillion::init()) // first\n        \
            .run(context());\n}\n";
        assert_eq!(add_plugin(code, true).as_deref(), Ok(expected));
    }

    #[test]
    fn single_instance_stays_first() {
        check(
            "fn main() {\n    ^\n    tauri::Builder::default()\n        \
             .plugin(tauri_plugin_single_instance::init(|app, _, _| show(app)))\n        @\n        .run(context());\n}\n",
        );
        let elsewhere = "fn main() { let mut builder = tauri::Builder::default();\n\
            builder = builder.plugin(tauri_plugin_single_instance::init(|_, _, _| {})); builder.run(context()); }";
        assert!(
            matches!(add_plugin(elsewhere, true), Err(NotAdded::Unknown(reason)) if reason.contains("first"))
        );
    }

    #[test]
    fn the_guard_comes_first_in_a_function_that_is_called_first() {
        check(
            "fn main() {\n    ^\n    // First.\n    log();\n    tauri::Builder::default()@.run(context());\n}\n",
        );
        check("fn app() { tauri::Builder::default()@.build(context()); }");
        check("fn run() { #![expect(dead_code)] tauri::Builder::default()@.run(context()); }");
        check("#[tokio::main]\nasync fn main() { tauri::Builder::default()@.run(context()); }");
        check("fn run() { ^ fn app() {} tauri::Builder::default()@.run(context()); }");
        check("fn run() { fn app() { tauri::Builder::default()@.run(context()); } }");
    }

    #[test]
    fn several_builders_are_left_to_the_developer() {
        let code = "fn a() { tauri::Builder::default().run(context()); }\nfn b() { tauri::Builder::default().run(context()); }";
        assert!(
            matches!(add_plugin(code, true), Err(NotAdded::Unknown(reason)) if reason.contains("several"))
        );
        assert!(
            matches!(add_plugin("fn main( {", true), Err(NotAdded::Unknown(reason)) if reason.contains("parsed"))
        );
        // Another crate's builder.
        let other = "fn main() { tauri_plugin_log::Builder::default().build(); }";
        assert!(
            matches!(add_plugin(other, true), Err(NotAdded::Unknown(reason)) if reason.contains("no `tauri::Builder"))
        );
    }

    #[test]
    fn an_app_that_uses_the_plugin_is_left_alone() {
        for code in [
            "use tauri_plugin_pillion::PillionExt;\nfn main() { tauri::Builder::default().run(context()); }",
            "fn main() { tauri::Builder::default().plugin(tauri_plugin_pillion::Builder::new().build()).run(context()); }",
        ] {
            assert_eq!(add_plugin(code, true), Err(NotAdded::Present), "{code}");
        }
    }

    #[test]
    fn the_line_of_the_guard_alone_registers_no_plugin() {
        let code = "fn main() { tauri_plugin_pillion::guard::run_if_asked(); tauri::Builder::default().run(context()); }";
        let expected = code.replace("default()", "default().plugin(tauri_plugin_pillion::init())");
        assert_eq!(add_plugin(code, true), Ok(expected));
        let import = "use tauri_plugin_pillion::guard;\nfn main() { guard::run_if_asked(); tauri::Builder::default().run(context()); }";
        assert!(
            add_plugin(import, true).is_ok_and(|added| added.contains(LINE) && !added.contains(GUARD_LINE))
        );
    }
}
