//! Programs that are not the ones that their declaration expects.

use std::{fs, os::unix::fs::PermissionsExt as _};

use integration_tests::{TEST_TIMEOUT, run};
use pillion::{FailureKind, Restart, Spec, State, Supervisor};
use sha2::{Digest as _, Sha256};

use crate::support::{assert_failure, state, tree};

fn digest(file: &std::path::Path) -> String {
    Sha256::digest(fs::read(file).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_program_with_another_digest_is_not_started_and_not_repeated() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let path = folder.path().join("backend");
        let script = |text: &str| {
            // In a new file: the old one may be executed at this moment.
            let new = folder.path().join("new");
            fs::write(&new, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
            fs::rename(new, &path).unwrap();
        };
        script("exec \"$FAKE\" listen ok announce term");
        let expected = digest(&path);
        let program = tree.program(&path).sha256(&expected);
        let spec = tree.spec(program).restart(Restart::OnFailure);
        let (supervisor, mut events) = Supervisor::start(spec);
        let first = supervisor.ready().await.unwrap();
        // An exchange is noticed at the next start, also at an automatic one.
        script("exec \"$FAKE\" out foreign\\n park");
        tree.alive()
            .into_iter()
            .find(|process| Some(process.pid) == first.pid)
            .unwrap()
            .signal(rustix::process::Signal::KILL)
            .unwrap();
        let failed = state(&mut events, State::Failed).await;
        let failure = failed.failure.unwrap();
        let actual = digest(&path);
        assert_failure(&failure, FailureKind::Mismatch, &[&expected, &actual, path.to_str().unwrap()]);
        assert_eq!((failed.restarts, failure.detail.tail.iter().any(|line| line == "foreign")), (1, false));
        // The right file again starts again.
        script("exec \"$FAKE\" listen ok announce term");
        supervisor.restart().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn the_digest_is_that_of_the_file_that_is_started_also_in_a_directory_with_a_placeholder() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = "exec \"$FAKE\" listen-on PORT ok term";
        // The first one would be found without the value of the placeholder.
        for (inside, text) in [("${port}".to_owned(), "exit 3"), (port.to_string(), server)] {
            let path = folder.path().join(inside).join("backend");
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let program = tree
            .program("./backend")
            .current_dir(folder.path().join("${port}"))
            .placeholders(true)
            .listen(pillion::Listen::Fixed(port.try_into().unwrap()))
            .port_env("PORT")
            .sha256(digest(&folder.path().join(port.to_string()).join("backend")));
        let (supervisor, _events) = Supervisor::start(tree.spec(program));
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_version_that_does_not_fit_ends_the_start_for_good() {
    run(async {
        // `listen ok` answers the version 1.2.3, and `listen bare` none.
        for (server, expects, says) in [
            ("ok", "^1.2", None),
            ("ok", "^2", Some("it has version 1.2.3, and `expects` is \"^2\"")),
            ("bare", "^1.2", Some("has no `version`")),
        ] {
            let tree = tree();
            let spec: Spec = tree.sidecar(&format!("listen {server} announce term"));
            let spec = spec.expects(expects).restart(Restart::Always).grace(TEST_TIMEOUT);
            let (supervisor, mut events) = Supervisor::start(spec);
            match (supervisor.ready().await, says) {
                (Ok(endpoint), None) => assert_eq!(endpoint.version.as_deref(), Some("1.2.3")),
                (Err(failure), Some(says)) => {
                    assert_failure(&failure, FailureKind::Mismatch, &[says]);
                    let failed = state(&mut events, State::Failed).await;
                    assert_eq!(
                        (failed.restarts, failed.failure.map(|it| it.kind)),
                        (0, Some(FailureKind::Mismatch))
                    );
                }
                (other, _) => panic!("{server}, {expects}: {other:?}"),
            }
            let _ = supervisor.stop().await;
        }
    });
}

/// A server whose health says that it speaks this version of the protocol.
const OTHER_PROTOCOL: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status":"ok","pillion_protocol":"%s"}' % sys.argv[1].encode())

server = HTTPServer(("127.0.0.1", 0), Handler)
print(f"BACKEND_PORT:{server.server_port}", flush=True)
server.serve_forever()
"#;

#[test]
fn a_sidecar_of_another_major_version_of_the_protocol_is_refused_in_words() {
    run(async {
        for (version, fits) in [("1", true), ("1.9", true), ("2", false)] {
            let tree = tree();
            let program = tree.program("python3").args(["-c", OTHER_PROTOCOL, version]);
            let (supervisor, mut events) = Supervisor::start(tree.spec(program).restart(Restart::Always));
            match supervisor.ready().await {
                Ok(_) => assert!(fits, "{version}"),
                Err(failure) => {
                    assert!(!fits, "{version}: {failure}");
                    let says = "it speaks version \"2\" of Pillion's protocol, and this app speaks version 1: update";
                    assert_failure(&failure, FailureKind::Mismatch, &[says]);
                    assert_eq!(state(&mut events, State::Failed).await.restarts, 0);
                }
            }
            let _ = supervisor.stop().await;
        }
    });
}
