//! The table of mutants: sidecars that break exactly one rule, and the check that says so.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::support::{Checked, MUTANT, check};

/// A name of `mutant-sidecar`, and the one check that it breaks.
type Mutant = (&'static str, &'static str);

/// How many checks run at the same time. Most of their time is the wait for a program that stops.
const PARALLEL: usize = 4;

/// Section 1 of docs/protocol.md.
#[rustfmt::skip]
const ANNOUNCE: &[Mutant] = &[
    ("announce-equals", "announcement"),
    ("announce-after-space", "announcement"),
    ("announce-zero-padded", "announcement"),
    ("announce-lower-case", "announcement"),
    ("announce-without-newline", "announcement"),
    ("announce-on-stderr", "announcement"),
    ("announce-nothing", "announcement"),
    ("unflushed", "flush"),
    ("announce-early", "accepts"),
    ("banner", "stdout"),
    ("progress-with-control-characters", "stdout"),
    ("progress-too-long", "stdout"),
    ("announce-twice", "stdout"),
    ("announces-another-port", "one-address"),
    ("starts-itself", "self-start"),
    ("logs-to-stdout", "stdout"),
    ("every-address", "loopback"),
    ("second-listener-on-every-address", "loopback"),
    ("second-listener-on-ipv6", "loopback"),
    ("second-listener-on-another-loopback", "loopback"),
    ("another-port", "port"),
    ("port-fallback", "port-taken"),
    ("refuse-silently", "refusal"),
    ("refuse-with-0", "refusal"),
];

/// Section 2.
#[rustfmt::skip]
const HEALTH: &[Mutant] = &[
    ("health-404", "health"),
    ("health-503", "health"),
    ("health-of-64-kib", "health-body"),
    ("health-in-plain-text", "health-body"),
    ("status-is-healthy", "health-body"),
    ("no-app", "health-body"),
    ("timestamp-in-seconds", "health-body"),
    ("uptime-in-milliseconds", "health-body"),
    ("protocol-2", "health-version"),
    ("instance-of-its-own", "instance"),
    ("instance-invented", "instance"),
    ("no-instance", "instance-returned"),
];

/// Section 3.
#[rustfmt::skip]
const STOP: &[Mutant] = &[
    ("ends-by-itself", "unasked"),
    ("sigterm-ignored", "sigterm"),
    ("slow-to-end-on-sigint", "sigint"),
    ("sigint-ignored", "sigint"),
    ("pipe-ignored", "lifeline"),
    ("socket-ignored", "lifeline-socket"),
    ("dev-null-is-a-lifeline", "no-lifeline"),
    ("stops-at-bytes", "stdin-bytes"),
    ("reads-once", "stdin-bytes"),
    ("no-deadline", "deadline"),
    ("no-drain", "drain"),
    ("exits-on-signal-after-lifeline", "drain-after-lifeline"),
    ("keeps-accepting", "no-new-connections"),
    ("exit-1-on-sigterm", "exit-status"),
    ("exit-1-on-sigint", "exit-status"),
    ("exit-1-on-lifeline", "exit-status"),
    ("one-signal", "second-signal"),
    ("leaves-child", "leftovers"),
];

/// Section 4.
#[rustfmt::skip]
const ENVIRONMENT: &[Mutant] = &[
    ("invalid-port-ignored", "port-invalid"),
    ("port-zero", "port-invalid"),
    ("protocol-unchecked", "protocol-version"),
    ("protocol-by-its-first-digit", "protocol-version"),
    ("port-out-of-range", "port-invalid"),
    ("port-with-sign", "port-invalid"),
    ("port-with-space", "port-invalid"),
    ("token-of-any-length", "token-invalid"),
    ("token-in-upper-case", "token-invalid"),
    ("token-of-any-letters", "token-invalid"),
    ("invalid-token-ignored", "token-invalid"),
    ("token-logged", "token-hidden"),
    ("token-in-error", "token-hidden"),
    ("instance-unchecked", "instance-invalid"),
    ("origins-added", "origins"),
    ("origins-not-trimmed", "origins"),
    ("empty-list-is-default", "origins"),
    ("origin-star-allowed", "origins-invalid"),
    ("origin-null-allowed", "origins-invalid"),
    ("empty-port", "empty-variables"),
    ("empty-token", "empty-variables"),
    ("empty-instance", "empty-variables"),
    ("unknown-variable", "unknown-variables"),
    ("environ-kept", "environ"),
    ("child-inherits-token", "environ-children"),
    ("child-argument", "arguments"),
];

/// Section 5.
#[rustfmt::skip]
const PRIVATE: &[Mutant] = &[
    ("host-unchecked", "host"),
    ("host-as-a-prefix", "host"),
    ("host-with-any-port", "host"),
    ("host-in-lower-case-only", "host"),
    ("first-of-two-hosts", "host"),
    ("no-host-is-403", "host"),
    ("target-unchecked", "target"),
    ("origin-unchecked", "origin"),
    ("one-origin", "origin"),
    ("origin-in-any-case", "origin"),
    ("origin-as-a-prefix", "origin"),
    ("null-is-an-origin", "origin"),
    ("first-of-two-origins", "origin"),
    ("token-unchecked", "token"),
    ("token-as-a-prefix", "token"),
    ("docs-without-token", "token"),
    ("token-in-a-header", "token"),
    ("token-without-its-last-digit", "token"),
    ("token-in-any-case", "token"),
    ("one-spelling-of-bearer", "token"),
    ("one-space", "token"),
    ("basic-is-a-scheme", "token"),
    ("first-of-two-tokens", "token"),
    ("token-in-a-cookie", "token"),
    ("token-in-a-query", "token"),
    ("second-port-without-token", "other-ports"),
    ("no-www-authenticate", "unauthorized"),
    ("health-with-a-slash", "health-path"),
    ("health-decoded", "health-path"),
    ("health-in-any-case", "health-path"),
    ("health-as-a-prefix", "health-path"),
    ("health-by-any-method", "health-path"),
    ("health-without-a-query", "alive"),
    ("alive-tells-all", "alive"),
    ("health-needs-the-token", "alive"),
    ("preflight-is-a-request", "preflight"),
    ("preflight-404", "preflight"),
    ("preflight-of-get-and-post", "preflight"),
    ("preflight-star", "preflight"),
    ("no-private-network", "preflight"),
    ("always-private-network", "preflight"),
    ("options-need-no-token", "preflight"),
    ("cors-star", "cors"),
    ("no-cors", "cors"),
    ("no-cors-on-401", "cors"),
    ("cors-on-403", "cors"),
    ("no-vary", "cors"),
    ("no-subprotocol", "subprotocol"),
    ("subprotocol-without-upgrade", "subprotocol"),
    ("subprotocol-in-two-lines", "subprotocol"),
    ("token-in-the-answer", "subprotocol"),
    ("pillion-not-chosen", "subprotocol"),
    ("no-proof", "proof"),
    ("proof-of-localhost", "proof"),
    ("proof-of-another-key", "proof"),
    ("proof-in-upper-case", "proof"),
    ("proof-of-any-challenge", "proof"),
    ("closes-after-proof", "keep-alive"),
];

/// Section 6.
#[rustfmt::skip]
const LISTENER: &[Mutant] = &[
    ("handover-refused", "handover"),
    ("handover-port-checked", "handover-port"),
    ("listen-fds-ignored", "handover-count"),
    ("address-unchecked", "handover-address"),
    ("descriptor-unchecked", "handover-kind"),
    ("listen-pid-ignored", "handover-foreign"),
    ("listener-shut-down", "handover-shutdown"),
    ("listener-inherited", "handover-cloexec"),
    ("socket-refused", "socket"),
    ("socket-host-with-port", "socket-host"),
    ("socket-proof-of-loopback", "socket-host"),
    ("socket-unlinked", "socket-path"),
];

/// A program that never announces itself is given up after this time. The verdict cannot be wrong on a slow machine: it never comes.
const SILENT: [&str; 8] = [
    "announce-equals",
    "announce-after-space",
    "announce-zero-padded",
    "announce-lower-case",
    "announce-without-newline",
    "announce-on-stderr",
    "announce-nothing",
    "unflushed",
];

fn run(mutant: &str) -> Checked {
    let timeout = match mutant {
        _ if SILENT.contains(&mutant) => "3s",
        // The check waits for so long until it gives up.
        "health-503" => "20s",
        _ => "120s",
    };
    check(["--json", "--timeout", timeout, "--", MUTANT, mutant])
}

/// Checks all of them, and fails with a text for each that is not caught by its check alone.
fn assert_caught(mutants: &[Mutant]) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some((mutant, wanted)) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let checked = run(mutant);
                    let broken = checked.with_outcome("broken");
                    if broken != [*wanted] || checked.status != 1 {
                        let Checked { status, stdout, stderr } = checked;
                        let text =
                            format!("{mutant} breaks {broken:?}, not {wanted}; {status}; {stderr}\n{stdout}");
                        failures.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn each_mutant_of_the_announcement_is_caught_by_its_own_check_and_no_other() {
    assert_caught(ANNOUNCE);
}

#[test]
fn each_mutant_of_health_is_caught_by_its_own_check_and_no_other() {
    assert_caught(HEALTH);
}

#[test]
fn each_mutant_of_the_stop_is_caught_by_its_own_check_and_no_other() {
    assert_caught(STOP);
}

#[test]
fn each_mutant_of_the_environment_is_caught_by_its_own_check_and_no_other() {
    assert_caught(ENVIRONMENT);
}

#[test]
fn each_mutant_of_privacy_is_caught_by_its_own_check_and_no_other() {
    assert_caught(PRIVATE);
}

#[test]
fn each_mutant_of_the_listener_is_caught_by_its_own_check_and_no_other() {
    assert_caught(LISTENER);
}

#[test]
fn the_program_without_a_mutation_keeps_every_rule_and_every_check_has_a_mutant() {
    let checked = check(["--json", "--timeout", "120s", "--", MUTANT, "none"]);
    checked.assert_keeps_everything();
    let tables = [ANNOUNCE, HEALTH, STOP, ENVIRONMENT, PRIVATE, LISTENER].concat();
    let caught: BTreeSet<_> = tables.iter().map(|(_, check)| (*check).to_owned()).collect();
    let all: BTreeSet<_> = checked.with_outcome("kept").into_iter().collect();
    assert_eq!(caught, all);
    let names: BTreeSet<_> = tables.iter().map(|(mutant, _)| mutant).collect();
    assert_eq!(names.len(), tables.len(), "a mutant is in the table twice");
}
