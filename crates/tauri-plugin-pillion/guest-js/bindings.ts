// Generated from Rust by tests/bindings.rs (`cargo xtask codegen`): the values that the app sends to the page.

export type Lifecycle = "waiting" | "starting" | "ready" | "unhealthy" | "stopping" | "backingOff" | "stopped" | "failed";

export type Exit = { 
/**
 * The exit code, or `None` where a signal ended the process.
 */
code: number | null, 
/**
 * The signal's number, or `None` where the process exited by itself.
 */
signal: number | null, };

export type FailureKind = "unknownSidecar" | "spawn" | "exitedEarly" | "readyTimeout" | "crashed" | "hung" | "dependency" | "stopped" | "noPort";

export type Detail = { 
/**
 * The sidecar's name.
 */
sidecar: string, 
/**
 * How its process ended, where it had one.
 */
exit: Exit | null, 
/**
 * The last lines of its output, oldest first, stdout and stderr as they came; invalid UTF-8 replaced.
 */
tail: Array<string>, };

export type Failure = { 
/**
 * What happened.
 */
kind: FailureKind, 
/**
 * The same in a sentence that says what to do where that is known.
 */
message: string, 
/**
 * What there is to look at.
 */
detail: Detail, };

export type Status = { 
/**
 * The sidecar's name.
 */
sidecar: string, 
/**
 * Grows with each change, so that two snapshots can be put in order.
 */
seq: number, 
/**
 * When this change happened, in milliseconds since the Unix epoch.
 */
at: number, 
/**
 * Where the sidecar is in its life.
 */
state: Lifecycle, 
/**
 * Its process, or the last one it had.
 */
pid: number | null, 
/**
 * The announced port, while the process that announced it lives; where the listener is handed over, also from one
 * process to the next. A sidecar on a socket has none.
 */
port: number | null, 
/**
 * [`Endpoint::url`] while it is ready.
 */
url: string | null, 
/**
 * The version that its health names, while it is ready.
 */
version: string | null, 
/**
 * What this change came from, in words.
 */
reason: string | null, 
/**
 * Why it is not there, or about not to be.
 */
failure: Failure | null, 
/**
 * How the process ended, once it has.
 */
exit: Exit | null, 
/**
 * How often it was restarted by itself since it was last up for long.
 */
restarts: number, };

export type Endpoint = { 
/**
 * The sidecar's name.
 */
sidecar: string, 
/**
 * `http://127.0.0.1:{port}`: the literal address, so that no resolver and no IPv6 preference has a say. For a sidecar on
 * a socket `pillion://localhost`, by which nobody but the plugin's client knows what to do.
 */
url: string, 
/**
 * The port of 127.0.0.1 that it announced; `None` for a sidecar on a socket.
 */
port: number | null, 
/**
 * Its process, unless it was attached to.
 */
pid: number | null, 
/**
 * The version that its health names.
 */
version: string | null, };

export type Access = { 
/**
 * The base URL, as in [`Endpoint::url`](crate::Endpoint::url).
 */
url: string, 
/**
 * The process id; `None` for an attached server. It changes from one run to the next.
 */
pid: number | null, 
/**
 * The token that each request must carry, as `Authorization: Bearer {token}`; `None` if the sidecar is not
 * [private](crate::Program::private).
 */
token: string | null, };

export type Log = { "kind": "stdout", 
/**
 * Without their newlines.
 */
lines: Array<string>, } | { "kind": "stderr", 
/**
 * Without their newlines.
 */
lines: Array<string>, } | { "kind": "missed", 
/**
 * At least one.
 */
events: number, };
