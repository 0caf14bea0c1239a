//! `pillion top` in a terminal of its own.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    path::PathBuf,
    thread,
};

use integration_tests::{ProcessTree, ReportServer, TEST_TIMEOUT, TestMarker, run};
use rustix::{
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use tokio::{
    process::Command,
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{
    control::User,
    support::{PILLION, Pillion, tree, words},
};

/// A terminal, and what programs have written to it.
struct Terminal {
    keyboard: File,
    /// The side of the programs.
    programs: File,
    written: mpsc::UnboundedReceiver<Vec<u8>>,
    emulator: vt100::Parser,
}

impl Terminal {
    fn open() -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let programs = OpenOptions::new().read(true).write(true).open(PathBuf::from(name)).unwrap();
        tcsetwinsize(&programs, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 })
            .unwrap();
        let keyboard = File::from(ours);
        let mut screen = keyboard.try_clone().unwrap();
        let (sender, written) = mpsc::unbounded_channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = screen.read(&mut bytes)
                && sender.send(bytes[..count].to_vec()).is_ok()
            {}
        });
        Self { keyboard, programs, written, emulator: vt100::Parser::new(ROWS, COLUMNS, 0) }
    }

    /// Starts `pillion top` in it, for this app alone: other apps of this machine may run, too.
    fn top(&self, user: &User, app: &Pillion) -> Pillion {
        self.top_of(user, &["--app", &app.pid().to_string()])
    }

    fn top_of(&self, user: &User, selection: &[&str]) -> Pillion {
        self.top_on(user, selection, "xterm-256color")
    }

    /// The same on a terminal of this type.
    #[expect(clippy::disallowed_methods, reason = "the tree kills what remains")]
    fn top_on(&self, user: &User, selection: &[&str], terminal: &str) -> Pillion {
        let side = || self.programs.try_clone().unwrap();
        let mut command = Command::new(PILLION);
        user.environment(&mut command);
        command.arg("top").args(selection);
        command.env("TERM", terminal).env_remove("NO_COLOR");
        Pillion(command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap())
    }

    /// Starts `pillion run` in it, with a `fake-sidecar` that runs these steps.
    #[expect(clippy::disallowed_methods, reason = "the tree kills what remains")]
    fn run(
        &self,
        user: &User,
        tree: &ProcessTree,
        options: &str,
        variable: Option<(&str, &str)>,
        steps: &str,
    ) -> Pillion {
        let side = || self.programs.try_clone().unwrap();
        let mut command = Command::new(PILLION);
        user.environment(&mut command);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR").envs(variable);
        command.env(TestMarker::VARIABLE, tree.marker());
        command.args(words(options, steps));
        Pillion(command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap())
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until it shows what fits.
    async fn shows(&mut self, fits: impl Fn(&vt100::Screen) -> bool) {
        // Sooner than the test is given up, so that a failure tells what it shows.
        let deadline = Instant::now() + TEST_TIMEOUT / 2;
        while !fits(self.emulator.screen()) {
            let Ok(bytes) = timeout_at(deadline, self.written.recv()).await else {
                panic!("the terminal shows:\n{}", self.emulator.screen().contents());
            };
            self.emulator.process(&bytes.expect("the terminal is open"));
        }
    }

    /// Waits until `pillion top` shows all of these.
    async fn shows_all(&mut self, parts: &[&str]) {
        self.shows(|screen| {
            screen.alternate_screen() && parts.iter().all(|part| screen.contents().contains(part))
        })
        .await;
    }

    /// Waits until `pillion top` has left it.
    async fn is_left(&mut self) {
        self.shows(|screen| !screen.alternate_screen() && !screen.hide_cursor()).await;
    }

    /// Whether it shows and edits lines as before.
    fn is_as_before(&self) -> bool {
        let modes = tcgetattr(self.programs.as_fd()).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}

const ROWS: u16 = 24;
const COLUMNS: u16 = 140;

#[test]
fn top_shows_what_runs_and_restores_the_terminal() {
    run(async {
        let user = User::new();
        let (app, _sidecar) = user.app("--name shop", "log first\\sline log second\\sline term exit 0").await;
        let mut terminal = Terminal::open();
        assert!(terminal.is_as_before());
        let mut top = terminal.top(&user, &app);
        terminal.shows_all(&["shop", "ready", "iB ", "first line", "second line", "q quit"]).await;
        assert!(!terminal.is_as_before(), "the test is void if it does not take the terminal");
        terminal.press("/second");
        terminal
            .shows(|screen| {
                let shown = screen.contents();
                shown.contains("/second") && shown.contains("second line") && !shown.contains("first line")
            })
            .await;
        terminal.press("\rq");
        assert!(top.0.wait().await.unwrap().success());
        terminal.is_left().await;
        assert!(terminal.is_as_before());

        // A signal ends it in the same way.
        let mut top = terminal.top(&user, &app);
        terminal.shows_all(&["shop"]).await;
        top.signal(Signal::TERM);
        assert!(top.0.wait().await.unwrap().success());
        terminal.is_left().await;
        assert!(terminal.is_as_before());

        // An app that ends leaves the table.
        let mut top = terminal.top(&user, &app);
        terminal.shows_all(&["shop"]).await;
        app.signal(Signal::TERM);
        app.end().await;
        terminal.shows_all(&["No app "]).await;
        terminal.press("\x03");
        assert!(top.0.wait().await.unwrap().success());
        terminal.is_left().await;
    });
}

#[test]
fn top_says_why_it_shows_nothing() {
    run(async {
        let user = User::new();
        let (app, _sidecar) = user.app("--name shop", "term exit 0").await;
        let mut terminal = Terminal::open();
        let pid = app.pid().to_string();
        for (selection, words) in [
            (["--app", "com.example.other"].as_slice(), "No app \"com.example.other\" runs."),
            (&["--app", &pid, "other"], "No sidecar \"other\" runs."),
        ] {
            let mut top = terminal.top_of(&user, selection);
            terminal.shows_all(&[words, &format!("process {pid})")]).await;
            terminal.press("q");
            assert!(top.0.wait().await.unwrap().success());
            terminal.is_left().await;
        }
        app.signal(Signal::TERM);
        app.end().await;
    });
}

#[test]
fn top_gives_the_terminal_back_while_it_is_stopped() {
    run(async {
        let user = User::new();
        let (app, _sidecar) = user.app("--name shop", "log first\\sline term exit 0").await;
        let mut terminal = Terminal::open();
        let mut top = terminal.top(&user, &app);
        terminal.shows_all(&["shop", "first line"]).await;
        top.signal(Signal::TSTP);
        terminal.is_left().await;
        top.stopped().await;
        assert!(terminal.is_as_before());
        top.signal(Signal::CONT);
        terminal.shows_all(&["shop", "first line"]).await;
        assert!(!terminal.is_as_before());

        // SIGSTOP cannot be noticed, and the shell uses the terminal as it is.
        top.signal(Signal::STOP);
        top.stopped().await;
        terminal.emulator.process(b"\x1b[?1049l\x1b[?25h$ ");
        top.signal(Signal::CONT);
        terminal.shows_all(&["shop", "first line"]).await;
        terminal.press("q");
        assert!(top.0.wait().await.unwrap().success());
        terminal.is_left().await;
        assert!(terminal.is_as_before());
        app.signal(Signal::TERM);
        app.end().await;
    });
}

#[test]
fn top_without_a_terminal_says_so() {
    run(async {
        let user = User::new();
        let refused = user.pillion("top").await;
        assert_eq!((refused.status, refused.stdout.len()), (1, 0));
        assert!(refused.stderr.contains("needs a terminal"), "{}", refused.stderr);
    });
}

#[test]
fn top_on_a_terminal_that_cannot_move_the_cursor_says_so() {
    run(async {
        let (user, mut terminal) = (User::new(), Terminal::open());
        let mut top = terminal.top_on(&user, &[], "dumb");
        terminal.shows(|screen| !screen.alternate_screen() && screen.contents().contains("\"dumb\"")).await;
        assert_eq!(top.0.wait().await.unwrap().code(), Some(1));
    });
}

#[test]
fn run_shows_in_the_last_row_how_the_program_is() {
    run(async {
        let user = User::new();
        let tree = tree();
        for (options, variable, is_shown) in
            [("", None, true), ("--quiet", None, false), ("", Some(("NO_COLOR", "1")), false)]
        {
            let mut terminal = Terminal::open();
            let reports = ReportServer::new().await;
            let steps =
                format!("listen ok announce log first report {} up wait log second exit 0", reports.port());
            let _pillion = terminal.run(&user, &tree, options, variable, &steps);
            let mut sidecar = reports.wait_for("up").await;
            let last = |screen: &vt100::Screen| {
                let contents = screen.contents();
                contents.lines().last().unwrap_or_default().to_owned()
            };
            if is_shown {
                terminal
                    .shows(|screen| {
                        let last = last(screen);
                        last.starts_with("▌ ready ") && (last.contains(" MiB") || !cfg!(target_os = "linux"))
                    })
                    .await;
            } else {
                terminal.shows(|screen| screen.contents().contains("is ready")).await;
            }
            sidecar.resume().await;
            terminal.shows(|screen| screen.contents().contains("exited with code 0")).await;
            let contents = terminal.emulator.screen().contents();
            assert!(!contents.contains("▌ ready"), "{contents}");
            assert!(contents.contains("first") && contents.contains("second"), "{contents}");
        }
    });
}
