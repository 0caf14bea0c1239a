//! What a developer sees: the output of sidecars, and what happens to them, on stderr of a real program.

use std::process::Stdio;

use integration_tests::{ProcessTree, ReportServer, TestMarker, run};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::support::tree;

/// A host of sidecars, and the lines that it shows.
struct Host {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    shown: Vec<String>,
}

impl Host {
    /// Starts the host of these sidecars.
    #[expect(clippy::disallowed_methods, reason = "the tree kills what remains")]
    fn start(tree: &ProcessTree, sidecars: &[(&str, &str)], color: bool) -> Self {
        let mut host = Command::new(env!("CARGO_BIN_EXE_terminal-host"));
        for (index, (name, steps)) in sidecars.iter().enumerate() {
            host.args((index > 0).then_some("--"))
                .args([name, env!("CARGO_BIN_EXE_fake-sidecar")])
                .args(steps.split_ascii_whitespace());
        }
        host.env(TestMarker::VARIABLE, tree.marker()).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        if color {
            // Colours without a terminal: bixense.com/clicolors.
            host.env("CLICOLOR_FORCE", "1");
        }
        let mut child = host.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, shown: Vec::new() }
    }

    /// Reads until a line contains this text.
    async fn until(&mut self, wanted: &str) {
        loop {
            let line = self.lines.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("{wanted:?} is not in {:#?}", self.shown));
            self.shown.push(line);
            if self.shown.last().is_some_and(|line| line.contains(wanted)) {
                return;
            }
        }
    }

    /// All lines, once the host has ended.
    async fn end(mut self) -> Vec<String> {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.shown.push(line);
        }
        assert!(self.child.wait().await.unwrap().success(), "{:#?}", self.shown);
        self.shown
    }
}

fn position(lines: &[String], wanted: &str) -> usize {
    lines.iter().position(|line| line.contains(wanted)).unwrap_or_else(|| panic!("{wanted:?} in {lines:#?}"))
}

#[test]
fn each_line_has_the_name_of_its_sidecar() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let good = "out first\\n listen ok announce err second\\n out cut exit 0";
        let crash =
            format!("listen ok announce report {} up wait err cannot\\sopen\\n exit 3", reports.port());
        let mut host = Host::start(&tree, &[("api", good), ("database", &crash)], false);
        for _ in 0..2 {
            let mut sidecar = reports.wait_for("up").await;
            host.until("database ▌ is ready at http://127.0.0.1:").await;
            sidecar.resume().await;
        }
        let lines = host.end().await;
        let all = lines.iter().all(|line| line.starts_with("api      ") || line.starts_with("database "));
        assert!(all && !lines.iter().any(|line| line.contains('\x1b')), "{lines:#?}");
        assert!(
            position(&lines, "api      ▌ is starting as process ") < position(&lines, "api      │ first")
        );
        position(&lines, "api      │ second");
        // The last line, which has no newline, and the message about the end, whether it was ready before or not.
        assert!(position(&lines, "api      │ cut") < position(&lines, "exited with code 0"));
        let again = position(&lines, "database ▌ exited with code 3 while it was in use; starting it again");
        let given_up = position(&lines, "code 3 while it was in use; given up after 1 restarts");
        assert!(position(&lines, "database │ cannot open") < again && again < given_up, "{lines:#?}");
    });
}

#[test]
fn a_sidecar_colors_its_lines_and_controls_nothing_else() {
    run(async {
        let tree = tree();
        let steps = "out \\x1b[31mred\\x1b]0;title\\x07\\x1b[2J\\n exit 0";
        let lines = Host::start(&tree, &[("api", steps)], true).end().await;
        let line = &lines[position(&lines, "red")];
        assert!(line.ends_with("│\u{1b}[0m \u{1b}[31mred\u{1b}[0m"), "{line:?}");
        assert!(line.starts_with("\u{1b}[36mapi\u{1b}[0m "), "{line:?}");
        let lines = Host::start(&tree, &[("api", steps)], false).end().await;
        assert_eq!(lines[position(&lines, "red")], "api │ red");
    });
}
