//! All checks, in the order of docs/protocol.md.

use super::{
    harness::Harness,
    report::{
        Requirement::{self, Must, Should},
        Verdict,
    },
    rules::{announce, environment, health, life, listener, requests, stop},
};

/// Looks at one rule. An error is a verdict that ended the check early.
type Look = fn(&Harness) -> Result<Verdict, Verdict>;

/// One check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    /// The name, as `--rule` takes it.
    pub(super) name: &'static str,
    /// The section of docs/protocol.md.
    pub(super) rule: u8,
    pub(super) level: Requirement,
    /// What the rule demands.
    pub(super) demand: &'static str,
    /// What to change if it is broken.
    pub(super) change: &'static str,
    /// The first start has already shown the result of a check without a function.
    pub(super) look: Option<Look>,
}

const fn check(
    rule: u8,
    level: Requirement,
    name: &'static str,
    look: Option<Look>,
    demand: &'static str,
    change: &'static str,
) -> Check {
    Check { name, rule, level, demand, change, look }
}

/// The names of the rules of docs/protocol.md.
pub(super) const RULES: [(u8, &str); 6] = [
    (1, "Announce"),
    (2, "Be healthy"),
    (3, "Stop"),
    (4, "The environment"),
    (5, "Be private"),
    (6, "Take the listener"),
];

/// The first check.
pub(super) const ANNOUNCEMENT: &str = "announcement";
/// The second check, which the first start shows as well.
pub(super) const FLUSH: &str = "flush";
/// If the first start breaks one of these, no other check looks.
pub(super) const ACCEPTS: &str = "accepts";
pub(super) const HEALTH: &str = "health";
pub(super) const SELF_START: &str = "self-start";

#[rustfmt::skip]
pub(super) const CHECKS: &[Check] = &[
    check(1, Must, ANNOUNCEMENT, None,
        "The program writes `BACKEND_PORT:n\\n` to stdout.",
        "Write that line to stdout as soon as the server listens, with a port from 1 to 65535 in plain decimal and a newline, and text for people to stderr. A server that you cannot change is declared with its `port` and `ready` (docs/servers.md), and keeps few of these rules."),
    check(1, Must, FLUSH, None,
        "The announcement is flushed.",
        "Flush stdout after the line: a pipe is not a terminal, so most languages buffer it (Python: `print(…, flush=True)`)."),
    check(1, Must, ACCEPTS, Some(announce::accepts),
        "The server accepts connections when it announces itself.",
        "Write the announcement after the listener listens, for example in the callback of `listen`."),
    check(1, Must, "one-address", Some(life::one_address),
        "The program announces one address in its life.",
        "Announce the server once. A worker process, or a reloader, that runs the main file again must not start a server: put the start below `if __name__ == \"__main__\":`, or look for the worker's arguments first."),
    check(1, Must, SELF_START, Some(life::self_start),
        "The program does not start itself without an end.",
        "A packed program is its own interpreter: for each worker it starts itself again. Python: call `multiprocessing.freeze_support()` first below `if __name__ == \"__main__\":`. Node: use `node:worker_threads`, or look for an argument of the worker first (docs/package.md)."),
    check(1, Should, "stdout", Some(life::stdout),
        "Stdout carries the announcement, lines of progress (`BACKEND_STATUS:`, at most 256 bytes, no control characters), and nothing else.",
        "Write logs and banners to stderr, and announce once; the `progress` of the SDKs writes valid lines."),
    check(1, Must, "loopback", Some(announce::loopback),
        "The server listens on 127.0.0.1, and on no other address.",
        "Bind to the literal address 127.0.0.1: many servers listen on all addresses (0.0.0.0, [::]) unless told otherwise, and `localhost` can be [::1]."),
    check(1, Must, "port", Some(announce::port),
        "With `PORT`, the server listens on that port.",
        "Read `PORT` and bind to it."),
    check(1, Must, "port-taken", Some(announce::port_taken),
        "With a `PORT` that another program uses, the program refuses to start.",
        "Exit with a status other than 0 if binding fails. Do not try another port."),
    check(1, Must, "refusal", Some(announce::refusal),
        "A program that refuses to start announces nothing, writes the reason to stderr, and exits with a status other than 0.",
        "Print the error to stderr, and exit with 1."),
    check(2, Must, HEALTH, Some(health::health_status),
        "`GET /health` is answered with a 2xx status.",
        "Add the route `GET /health`, and answer 200 once the server can serve."),
    check(2, Should, "health-body", Some(health::body),
        "The body of health is the JSON of rule 2: `status` \"ok\", `app`, `timestamp` in milliseconds, `uptime` in seconds.",
        "Answer with these members."),
    check(2, Must, "health-version", Some(health::version),
        "A `pillion_protocol` in health is a version of the host's major version.",
        "Return \"1\", the version of the protocol, and not that of your program: a host of another major version refuses the start."),
    check(2, Must, "instance", Some(health::instance),
        "An `instance` in health is the value of `PILLION_INSTANCE`; without that variable there is none.",
        "Return the variable unchanged, and no value of your own."),
    check(2, Should, "instance-returned", Some(health::instance_returned),
        "Health returns `PILLION_INSTANCE` as `instance`.",
        "Add it to the body, so that the host knows that no other server answered."),
    check(3, Must, "unasked", Some(life::unasked),
        "The program runs until it is asked to stop.",
        "Find out why it ends: the end of the main function while the server runs on another thread, an error, a limit of time or of requests."),
    check(3, Must, "sigterm", Some(stop::sigterm),
        "SIGTERM ends the program within the grace period.",
        "Handle SIGTERM: stop accepting, finish, exit. As process 1 of a container, or under a shell, a program may not get it: use `exec`."),
    check(3, Must, "sigint", Some(stop::sigint),
        "SIGINT ends the program within the grace period.",
        "Handle SIGINT as SIGTERM."),
    check(3, Must, "lifeline", Some(stop::lifeline),
        "The end of stdin, a pipe, ends the program within the grace period.",
        "Read stdin to its end on a thread of its own, and stop then."),
    check(3, Must, "lifeline-socket", Some(stop::lifeline_socket),
        "The end of stdin, a socket, ends the program as well.",
        "Accept a socket as a lifeline too: test whether stdin is a FIFO or a socket."),
    check(3, Must, "no-lifeline", Some(stop::no_lifeline),
        "A stdin that is /dev/null is not a lifeline.",
        "Watch stdin only if it is a pipe or a socket (fstat(2))."),
    check(3, Must, "stdin-bytes", Some(stop::stdin_bytes),
        "Bytes on stdin mean nothing; only its end does.",
        "Read and discard bytes until the end of stdin."),
    check(3, Must, "deadline", Some(stop::deadline),
        "The program ends within the grace period, even with a request that never ends.",
        "Give the requests in flight a deadline below 5 s, then cut them and exit."),
    check(3, Should, "drain", Some(stop::drain),
        "A request in flight is finished.",
        "After the request to stop, close the listener, wait for the open requests, and only then exit."),
    check(3, Should, "drain-after-lifeline", Some(stop::drain_after_lifeline),
        "After the end of stdin, a signal cuts no request in flight, nor does a second one.",
        "Exit at once on a second signal only if stdin is still open: a host ends stdin and sends SIGTERM, and a wrapper may pass the signal on once more."),
    check(3, Should, "no-new-connections", Some(stop::no_new_connections),
        "A program that was asked to stop accepts no new connections.",
        "Close the listener first."),
    check(3, Should, "exit-status", Some(stop::exit_status),
        "A program that was asked to stop exits with 0.",
        "Exit with 0 after a requested stop. The default action of a signal, or an unhandled interrupt, gives another status."),
    check(3, Should, "second-signal", Some(stop::second_signal),
        "A second signal ends the program at once.",
        "Exit in the handler of the second signal, without waiting for requests."),
    check(3, Should, "leftovers", Some(stop::leftovers),
        "The program ends the processes that it has started.",
        "Stop and wait for your children before you exit."),
    check(4, Must, "protocol-version", Some(environment::protocol_version),
        "With a `PILLION_PROTOCOL` of another major version, the program refuses to start.",
        "Accept `1` and `1.MINOR` only, and name both versions: a host of another version would not understand this program."),
    check(4, Must, "port-invalid", Some(announce::port_invalid),
        "With an invalid `PORT` (`0`, `+80`, `080`, `65536`, ` 80`, `http`), the program refuses to start.",
        "Accept plain decimal from 1 to 65535 only: no sign, no spaces, no leading zeros, no default for anything else."),
    check(4, Must, "token-invalid", Some(environment::token_invalid),
        "With a `PILLION_TOKEN` that is not 64 lower-case hexadecimal digits, the program refuses to start.",
        "Check the length and the digits, and exit with a status other than 0."),
    check(4, Must, "token-hidden", Some(environment::token_hidden),
        "No output contains the token, not even an invalid one.",
        "Do not print the environment, headers or the value of `PILLION_TOKEN`."),
    check(4, Should, "instance-invalid", Some(health::instance_invalid),
        "With a `PILLION_INSTANCE` that is not 32 lower-case hexadecimal digits, the program refuses to start.",
        "Check the length and the digits."),
    check(4, Must, "origins", Some(environment::origins),
        "`PILLION_ALLOWED_ORIGINS` allows its elements and no other origin.",
        "Split at commas, and drop spaces and empty elements. The list replaces the default, even if it is empty."),
    check(4, Must, "origins-invalid", Some(environment::origins_invalid),
        "With `*` or `null` in `PILLION_ALLOWED_ORIGINS`, the program refuses to start.",
        "Reject these elements: they would allow every page."),
    check(4, Must, "empty-variables", Some(environment::empty_variables),
        "An empty variable counts as unset.",
        "Treat \"\" as a variable that is not there."),
    check(4, Should, "unknown-variables", Some(environment::unknown_variables),
        "The program ignores variables that it does not know.",
        "Do not fail on other `PILLION_` variables."),
    check(4, Should, "environ", Some(environment::environ),
        "`/proc/PID/environ` of the program does not show the token.",
        "Overwrite the token in the initial environment block, as the SDKs do; start the program without a wrapper, or let the wrapper `exec` it."),
    check(4, Must, "environ-children", Some(environment::environ_children),
        "No program that the sidecar starts gets the token in its environment.",
        "Remove `PILLION_TOKEN` from the environment before you start another program."),
    check(4, Must, "arguments", Some(environment::arguments),
        "No process has the token among its arguments.",
        "Pass the token in memory or by a pipe: every user can read arguments."),
    check(5, Must, "host", Some(requests::host),
        "A request without exactly one `Host` gets 400, one for another server 403, before any other check.",
        "Compare `Host` with `127.0.0.1:{port}` and `localhost:{port}` without regard to case, in front of all routes."),
    check(5, Must, "target", Some(requests::target),
        "A target in absolute form that names another server or another scheme gets 403.",
        "Refuse every target that does not begin with a slash."),
    check(5, Must, "origin", Some(requests::origin),
        "A request with an `Origin` that is not allowed, or with several, gets 403.",
        "Compare `Origin` byte for byte with the allowed origins, before the token and in front of all routes."),
    check(5, Must, "token", Some(requests::token),
        "A request without the token gets 401, and one with it is served.",
        "Take exactly one `Authorization` header: `Bearer` without regard to case, spaces, the token; compare in constant time. Nothing else counts, neither a query nor a cookie."),
    check(5, Must, "other-ports", Some(life::ports),
        "Each other port of the program demands the token too.",
        "Close the second port, serve its paths on the announced one, or check the token there too: rule 5 holds for every request."),
    check(5, Must, "unauthorized", Some(requests::unauthorized),
        "A 401 has `WWW-Authenticate: Bearer`.",
        "Add the header."),
    check(5, Must, "health-path", Some(requests::health_path),
        "Without the token, exactly `GET` and `HEAD` of `/health` are answered.",
        "Compare the path as it came, without decoding, and the method."),
    check(5, Must, "alive", Some(requests::alive),
        "Without the token, health answers 200 and exactly `{\"status\":\"ok\"}`.",
        "Answer with that body and nothing else, with or without a query."),
    check(5, Must, "preflight", Some(requests::preflight),
        "A preflight needs no token: a 2xx status with the methods, the headers and the private network that it asked for. Other `OPTIONS` need the token.",
        "Answer `OPTIONS` with an allowed `Origin` and `Access-Control-Request-Method` in front of all routes, and echo what it asks for."),
    check(5, Must, "cors", Some(requests::cors),
        "An answer to an allowed `Origin` has that origin in `Access-Control-Allow-Origin` and `Vary: Origin`, even a 401; other answers have neither.",
        "Add both headers in front of all routes, with the origin and not `*`. With an SDK, which adds them, remove the app's own middleware for CORS."),
    check(5, Must, "subprotocol", Some(requests::subprotocol),
        "A WebSocket may carry the token as the subprotocol `pillion.bearer.TOKEN` in one line of an upgrade, which the answer does not repeat.",
        "Take the token from `Sec-WebSocket-Protocol` only with `Upgrade: websocket`, and answer with `pillion` or a subprotocol of the page."),
    check(5, Must, "proof", Some(requests::proof),
        "Health answers a valid `Pillion-Challenge` with the right `Pillion-Proof`, and an invalid one without a proof.",
        "Compute HMAC-SHA256 with the 64 characters of the token over `pillion-health 127.0.0.1:{port} {challenge}`."),
    check(5, Should, "keep-alive", Some(requests::keep_alive),
        "The connection stays open after the proof.",
        "Do not close the connection after health without the token."),
    check(6, Must, "handover", Some(listener::handover),
        "With its own `LISTEN_PID` and `LISTEN_FDS=1`, the program accepts on descriptor 3 and announces its port.",
        "Take descriptor 3 (docs/protocol.md, section 6), or announce a port of your own."),
    check(6, Must, "handover-port", Some(listener::port),
        "With a listener from the host, the program ignores `PORT`, even an invalid one.",
        "Look at `LISTEN_PID` before `PORT`."),
    check(6, Must, "handover-count", Some(listener::count),
        "With its own `LISTEN_PID` and a `LISTEN_FDS` other than `1`, the program refuses to start.",
        "Accept exactly `1`."),
    check(6, Must, "handover-address", Some(listener::address),
        "If descriptor 3 is bound to an address other than 127.0.0.1, the program refuses to start.",
        "Look at the address of the socket (getsockname(2))."),
    check(6, Should, "handover-kind", Some(listener::kind),
        "If descriptor 3 is not a listening stream socket, the program refuses to start.",
        "Test the kind of the descriptor before you announce."),
    check(6, Must, "handover-foreign", Some(listener::foreign),
        "With the `LISTEN_PID` of another process, the program opens a port itself.",
        "Compare `LISTEN_PID` with your own process id."),
    check(6, Must, "handover-shutdown", Some(listener::shutdown),
        "The program does not shut the listener down: the next run accepts on it.",
        "Close the descriptor instead of shutdown(2)."),
    check(6, Must, "handover-cloexec", Some(listener::close_on_exec),
        "The listener is closed in programs that the sidecar starts.",
        "Set FD_CLOEXEC on descriptor 3."),
    check(6, Must, "socket", Some(listener::socket),
        "The program accepts on a Unix domain socket of the host, and announces `BACKEND_SOCKET:3\\n`.",
        "Take a socket of either kind as descriptor 3, or announce a port of your own."),
    check(6, Must, "socket-host", Some(listener::socket_host),
        "On a socket, `Host` is `localhost`, in the proof too.",
        "Use `localhost` without a port there, and refuse other values."),
    check(6, Must, "socket-path", Some(listener::socket_path),
        "The program does not remove the path of the socket.",
        "Close the descriptor only: many libraries unlink the path."),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::Path};

    use super::*;

    const BEGIN: &str =
        "<!-- generated from crates/pillion-cli/src/check/catalogue.rs: run `cargo xtask codegen` -->\n";
    const END: &str = "<!-- end -->";

    #[test]
    fn generated_list_of_checks_is_up_to_date() {
        let mut table = "| rule | check | level | demand |\n| --- | --- | --- | --- |\n".to_owned();
        for check in CHECKS {
            let Check { rule, name, level, demand, .. } = check;
            writeln!(table, "| {rule} | `{name}` | {} | {demand} |", level.name()).unwrap();
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/check.md");
        let text = fs::read_to_string(&file).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        let wanted = format!("{before}{BEGIN}{table}{END}{after}");
        if env::var_os("PILLION_CODEGEN").is_some() {
            fs::write(&file, &wanted).unwrap();
        } else {
            assert!(text == wanted, "docs/check.md is out of date: run `cargo xtask codegen`");
        }
    }

    #[test]
    fn each_check_has_its_own_name_and_the_rules_come_in_order() {
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        assert!(CHECKS.is_sorted_by_key(|check| check.rule));
        let rules: BTreeSet<_> = CHECKS.iter().map(|check| check.rule).collect();
        assert!(rules.into_iter().eq(RULES.map(|(rule, _)| rule)));
        for check in CHECKS.iter().filter(|check| check.look.is_none()) {
            assert!([ANNOUNCEMENT, FLUSH].contains(&check.name), "{} does nothing", check.name);
        }
    }
}
