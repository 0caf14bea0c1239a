// Generated from Rust by tests/bindings.rs (`cargo xtask codegen`): the values that the app sends to the page.

/**
 * The state of a sidecar.
 */
export type State = "idle" | "waiting" | "starting" | "ready" | "unhealthy" | "stopping" | "backingOff" | "stopped" | "failed";

/**
 * Whether requests can reach the sidecar. `Supervisor.ready` starts it when it is idle, waits while it
 * is pending, returns the endpoint when it is up, and fails when it is down.
 */
export type Readiness = "pending" | "idle" | "up" | "down";

/**
 * How a process ended: by an exit code, or on Unix by a signal.
 */
export type Exit = {
/**
 * The exit code, if the process exited by itself.
 */
code: number | null,
/**
 * The number of the signal, if a signal ended the process.
 */
signal: number | null, };

/**
 * What kind of failure it is.
 */
export type FailureKind = "unknownSidecar" | "spawn" | "mismatch" | "exitedEarly" | "readyTimeout" | "crashed" | "hung" | "memoryLimit" | "dependency" | "stopped" | "noPort";

/**
 * The diagnostics of a `Failure`.
 */
export type Detail = {
/**
 * The name of the sidecar.
 */
sidecar: string,
/**
 * How its process ended, if it had one and it has ended.
 */
exit: Exit | null,
/**
 * The last lines of its output, oldest first, stdout and stderr mixed as they came. Invalid UTF-8 is replaced by U+FFFD. A page
 * without the permission to read the output receives none.
 */
tail: Array<string>, };

/**
 * An error about a sidecar: `kind` for programs, `message` for people, `detail` for diagnosis.
 */
export type Failure = {
/**
 * What kind of failure it is.
 */
kind: FailureKind,
/**
 * A sentence that says what happened and, if known, what to do.
 */
message: string,
/**
 * The diagnostics.
 */
detail: Detail, };

/**
 * A snapshot of one sidecar.
 */
export type Status = {
/**
 * The name of the sidecar.
 */
sidecar: string,
/**
 * Grows with each change: it orders snapshots.
 */
seq: number,
/**
 * The time of this change, in milliseconds since the Unix epoch.
 */
at: number,
/**
 * The state of the sidecar.
 */
state: State,
/**
 * Whether requests can reach the sidecar.
 */
readiness: Readiness,
/**
 * The id of its present or last process.
 */
pid: number | null,
/**
 * When that process was started, in milliseconds since the Unix epoch.
 */
started: number | null,
/**
 * Its port, while its process lives. With a listener handover it stays known between two processes. A sidecar on a
 * local socket has none.
 */
port: number | null,
/**
 * The base URL, while the sidecar is up and if it has an address.
 */
url: string | null,
/**
 * The version from its health report, while the sidecar is up.
 */
version: string | null,
/**
 * How far the sidecar is, in its own words, such as `loading model 42%`: the last line of progress (`BACKEND_STATUS:`) of its
 * present process. Changes at most four times a second.
 */
progress: string | null,
/**
 * Why this change happened, in words.
 */
reason: string | null,
/**
 * The failure that took the sidecar down, or is taking it down.
 */
failure: Failure | null,
/**
 * How the process ended, once it has ended.
 */
exit: Exit | null,
/**
 * The number of automatic restarts since the sidecar was last up for long.
 */
restarts: number, };

/**
 * Where a ready sidecar is reached.
 */
export type Endpoint = {
/**
 * The name of the sidecar.
 */
sidecar: string,
/**
 * `http://127.0.0.1:{port}`: a literal address, so that no resolver and no preference for IPv6 applies. It is
 * `pillion://localhost` for a sidecar on a local socket; only the client of the plugin understands that URL. `null` if the
 * sidecar has no address, as a worker that is ready when it is started.
 */
url: string | null,
/**
 * Its port of 127.0.0.1. A sidecar on a local socket has none.
 */
port: number | null,
/**
 * The process id. An attached server has none.
 */
pid: number | null,
/**
 * The version from its health report.
 */
version: string | null, };

/**
 * What a request to one run of a sidecar needs. No other type that this crate returns or publishes carries a token.
 */
export type Access = {
/**
 * The base URL of the run.
 */
url: string,
/**
 * The process id, which changes from one run to the next. An attached server has none.
 */
pid: number | null,
/**
 * The token that each request must carry, as `Authorization: Bearer {token}`. A sidecar that is not private has none.
 */
token: string | null, };

/**
 * One of the two output streams.
 */
export type OutputStream = "stdout" | "stderr";

/**
 * How severe a line is, as its text says.
 */
export type Level = "trace" | "debug" | "info" | "warn" | "error";

/**
 * A line of a sidecar's output.
 */
export type LogEntry = {
/**
 * The number of the line, from 1: it counts the lines of both streams and of all runs since the app started. Lines that a reader
 * missed are exactly those whose numbers it did not get.
 */
seq: number,
/**
 * The time when the app read the line, in milliseconds since the Unix epoch.
 */
at: number,
/**
 * The run that wrote the line: the runs of a sidecar are counted from 1 since the app started.
 */
run: number,
/**
 * The stream that the sidecar wrote to.
 */
stream: OutputStream,
/**
 * How severe the line is, if its text says so, and if the reader asked for levels.
 */
level: Level | null,
/**
 * The line without its newline, as a terminal shows it: the part after its last carriage return, with its colours. Invalid UTF-8 is
 * replaced by U+FFFD, and a note marks a cut line.
 */
text: string, };

/**
 * What a reader of a sidecar's output receives.
 */
export type Log = { "kind": "lines",
/**
 * The lines, at least one.
 */
entries: Array<LogEntry>, } | { "kind": "unfinished",
/**
 * The run that wrote it.
 */
run: number,
/**
 * The stream that the sidecar wrote to.
 */
stream: OutputStream,
/**
 * The text after the last carriage return.
 */
text: string, } | { "kind": "missed",
/**
 * The number of missed lines, at least 1.
 */
lines: number, };

/**
 * Why a run ended, and on whose order.
 */
export type EndReason = "stop" | "kill" | "restart" | "swap" | "swapCancelled" | "update" | "appEnd" | "appDeath" | "dependency" | "unused" | "finished" | "crashed" | "outOfMemory" | "memoryLimit" | "exitedEarly" | "readyTimeout" | "mismatch" | "hung" | "watchdog";

/**
 * Why processes were killed.
 */
export type KillReason = "graceOver" | "requested";

/**
 * What had to be killed.
 */
export type Killed = {
/**
 * Why.
 */
why: KillReason,
/**
 * Whether the first process was killed, too. Otherwise it had ended, and only other processes were left.
 */
leader: boolean,
/**
 * Whether a process did not even end then, and was left behind.
 */
survived: boolean, };

/**
 * The report about the end of one run of a sidecar: how it ended, on whose order, and what it had used.
 */
export type ExitReport = {
/**
 * The name of the sidecar.
 */
sidecar: string,
/**
 * Which run it was, counted from 1 since the app started; 0 if the app died before it knew the number. A report of an earlier
 * start of the app keeps the number that it had.
 */
run: number,
/**
 * The process id of its first process. `null` if the app died before it knew the id.
 */
pid: number | null,
/**
 * When it was started, in milliseconds since the Unix epoch.
 */
startedAt: number,
/**
 * When its first process ended, in milliseconds since the Unix epoch. `null` if neither the app nor a guard saw the end.
 */
endedAt: number | null,
/**
 * How long its first process lived, in milliseconds, by a clock that no change of the time affects; by the wall clock for a run
 * that the app did not outlive. `null` if the end was not seen.
 */
lifetimeMs: number | null,
/**
 * How long after its start it was ready for the first time, in milliseconds. `null` if it never was.
 */
readyAfterMs: number | null,
/**
 * How its first process ended. `null` if the end was not seen, or if the process could not be killed.
 */
exit: Exit | null,
/**
 * Why it ended, and on whose order.
 */
reason: EndReason,
/**
 * The sentence of the failure, with what to do about it, if the end was a failure.
 */
message: string | null,
/**
 * What the supervisor or the guard had to kill. `null` if every process ended by itself or when it was asked.
 */
killed: Killed | null,
/**
 * Whether the first process left a core dump, as the system says; `false` also if the limit for its size is 0. `null` on Windows,
 * and if the end was not seen. Where the dump is, `core(5)` says.
 */
coreDumped: boolean | null,
/**
 * The most memory that it used, in bytes. On Linux and macOS: the largest resident set of any one of its processes (`ru_maxrss` of
 * getrusage(2)). On Windows: the committed memory of all its processes together. On Linux on x86-64, if it is no more than the app
 * had used when it started the sidecar, which the system counts as well: that of its first process when the supervisor last looked,
 * which it does when the sidecar becomes ready, answers a liveness probe, or is asked to stop (`VmHWM`, `proc_pid_status(5)`).
 * `null` if nothing of that is known.
 */
peakMemory: number | null,
/**
 * The processor time of all its processes, user and system, in milliseconds. On Linux and macOS without processes that their own
 * parent ignored (SIGCHLD, wait(2)), on macOS also without those that outlived their parent. `null` if the guard
 * was killed, and without a guard, except on Linux, where it is then that of the first process.
 */
cpuTimeMs: number | null,
/**
 * The processes that still ran when its first process had ended, at most five, each as name and process id. They were stopped, and
 * killed if `killed` says so. Linux; empty elsewhere.
 */
left: Array<string>,
/**
 * How many automatic restarts had preceded this run since the sidecar was last up for long.
 */
restarts: number,
/**
 * The last lines that it wrote to stdout, oldest first, at most 20. Invalid UTF-8 is replaced by U+FFFD, and long lines are
 * cut. A page without the permission to read the output receives none. Empty for a run that the app did not outlive.
 */
stdout: Array<string>,
/**
 * The last lines that it wrote to stderr, as `stdout`.
 */
stderr: Array<string>, };

/**
 * What a figure of memory counts.
 */
export type MemoryKind = "proportional" | "resident" | "private" | "footprint";

/**
 * What all processes of a sidecar use at one moment. A field is `null` if the system does not tell it, and if no process runs.
 */
export type Usage = {
/**
 * The name of the sidecar.
 */
sidecar: string,
/**
 * When it was measured, in milliseconds since the Unix epoch.
 */
at: number,
/**
 * The run, counted from 1 since the app started. `null` if no process of the app runs: the sidecar is down, or another program has
 * started it.
 */
run: number | null,
/**
 * The share of processor time since the value before, in percent of one processor: 250 is two and a half. `null` in the first
 * value of a run.
 */
cpuPercent: number | null,
/**
 * The processor time of the run so far, user and system, in milliseconds; also that of processes that have ended, unless their own
 * parent ignored their end (SIGCHLD, wait(2)).
 */
cpuTimeMs: number | null,
/**
 * The memory of all processes together, in bytes.
 */
memory: number | null,
/**
 * What `memory` counts.
 */
memoryKind: MemoryKind | null,
/**
 * The number of processes.
 */
processes: number | null,
/**
 * The number of open file descriptors of all processes together; on Windows that of their handles.
 */
descriptors: number | null, };
