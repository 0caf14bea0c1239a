import type { UnlistenFn } from "@tauri-apps/api/event";
import { takeKnown } from "./at-start.js";
import type { Endpoint, ExitReport, Log, Status, Usage } from "./bindings.js";
import { ConnectionManager } from "./connection-manager.js";
import { type EventsOptions, events, type ServerSentEvent } from "./events.js";
import { fetchWithRetries, type RequestOptions } from "./fetch.js";
import { call } from "./ipc.js";
import { subscribeToLogs } from "./logs.js";
import { subscribe } from "./subscription.js";
import { BASE_URL } from "./target.js";
import { StatusWatch } from "./watch.js";
import { openWebSocket, type ReconnectingWebSocket, type WebSocketOptions } from "./websocket.js";

/** Which lines `logs` delivers. */
export interface LogOptions {
  /** How many of the kept lines come at most, the newest ones; by default all. With 0, only lines to come are delivered. */
  tail?: number;
  /** The kept lines come only if the app read them at or after this time: a `Date`, or milliseconds since the Unix epoch. */
  since?: number | Date;
  /** Whether each entry has its level, if its text says one; `false` by default. */
  levels?: boolean;
  /** Whether the text keeps its colours and other control sequences; `true` by default. */
  ansi?: boolean;
}

/** How often `usage` delivers. */
export interface UsageOptions {
  /** The time between two values, in milliseconds: 1000 by default, and at least 500. */
  intervalMs?: number;
}

/** One sidecar of the app, by its name in `tauri.conf.json`. All methods act on its current run, and follow its restarts. */
export interface Sidecar {
  readonly name: string;

  /** Waits until the sidecar is ready, and resolves with its endpoint. Rejects with a `SidecarError` if it does not get ready. */
  ready(): Promise<Endpoint>;

  /** The current status. */
  status(): Promise<Status>;

  /** Starts a sidecar that is down; stops and starts one that is up. Settles as `ready` does. */
  restart(): Promise<Endpoint>;

  /**
   * Replaces the process by a new one of the same program without a gap: the new one takes over once it is ready, and then the
   * old one is stopped. Rejects if the new one does not get ready; the old one then keeps running.
   */
  swap(): Promise<Endpoint>;

  /** Stops the sidecar, and resolves when none of its processes is left. It stays down until it is restarted. */
  stop(): Promise<void>;

  /**
   * Calls `onStatus` with the current status, and then with each later one, in order and each once. A late listener therefore
   * misses nothing. `onError` is called at most once, if the subscription cannot begin.
   *
   * The returned function ends the subscription. It may be called at any time and any number of times; no callback runs after
   * the first call.
   */
  watch(onStatus: (status: Status) => void, onError?: (error: Error) => void): UnlistenFn;

  /**
   * Calls `onLog` with the sidecar's output: the lines that the app keeps and `options` selects, and then those to come, without a gap
   * or a repetition, through all its restarts. The app sends few messages ahead of those that `onLog` has returned from: for a page that
   * is too slow, `"missed"` says exactly how many lines are left out. A line that has no newline yet, such as a progress bar, comes as
   * `"unfinished"`, at most once a second, and again with its end. `onError` is called at most once, if the subscription cannot begin. The
   * returned function ends the subscription, as with `watch`. Needs `pillion:allow-logs`.
   *
   * @example
   * ```ts
   * const unlisten = backend.logs({ tail: 200, levels: true }, (log) => {
   *   if (log.kind === "lines") for (const { level, text } of log.entries) console.log(level, text);
   *   if (log.kind === "missed") console.log(`(${log.lines} lines are missing)`);
   * });
   * ```
   */
  logs(options: LogOptions, onLog: (log: Log) => void, onError?: (error: Error) => void): UnlistenFn;

  /**
   * The reports about the last 20 runs that have ended, newest last, also those of earlier starts of the app: how each ended, on
   * whose order, and what it had used. Without `pillion:allow-logs` they hold no line of the output. Needs
   * `pillion:allow-exit-reports`.
   */
  exitReports(): Promise<ExitReportWithSummary[]>;

  /**
   * Calls `onUsage` with what all processes of the sidecar use, now and then once a second: processor time, memory, and the numbers of
   * processes and open descriptors. While the sidecar is down, one value without figures says so. The app measures only while a page or
   * another reader watches. `onError` is called at most once, if the subscription cannot begin. The returned function ends the
   * subscription, as with `watch`. A figure that the system does not tell is `null`. Needs `pillion:allow-usage`.
   *
   * @example
   * ```ts
   * const unlisten = backend.usage(({ cpuPercent, memory }) => {
   *   if (cpuPercent !== null && memory !== null) console.log(`${cpuPercent} %, ${Math.round(memory / 2 ** 20)} MiB`);
   * });
   * ```
   */
  usage(
    onUsage: (usage: Usage) => void,
    options?: UsageOptions,
    onError?: (error: Error) => void,
  ): UnlistenFn;

  /**
   * Asks the app early for what the first request needs, so that the request does not wait for it. An error is not reported
   * here, but by the request.
   */
  preconnect(): void;

  /**
   * The base of absolute URLs that `fetch` sends to the sidecar's current run, whatever its port: `http://sidecar.invalid`. Pass it,
   * together with `fetch`, to clients that build absolute URLs, such as openapi-fetch and Hono's `hc`.
   */
  readonly baseUrl: string;

  /**
   * The platform's `fetch`, to the sidecar's current run. It has the type of `fetch`, needs no `this`, and takes more options.
   * Without a run, it waits for the next one. If a run ends before it responds, the request is sent to the next one, at most three
   * times in all, and only if it may be repeated (see `RequestOptions.retry`).
   *
   * `input` is a path (`/notes?page=2`); or a URL or a `Request` whose base is `baseUrl` or the URL of a run, also of an earlier
   * one, that this page has learnt from this handle. Every other URL rejects with a `TypeError`, and nothing is sent. The body of a
   * `Request` is read to its end first.
   *
   * Rejects as `fetch` does, and with the reason of `init.signal` when that is aborted. Rejects with an `Interrupted` if the
   * request was sent, may have taken effect, and is not sent again. Rejects with another `SidecarError` if the request was not
   * sent: the sidecar does not come back by itself (`kind` and `failure` say why), or not within `connectTimeout` (`kind` is
   * `starting`, `restarting` or `stopping`). A body that breaks off rejects where it is read.
   *
   * The request carries the token of a private sidecar as `Authorization`, so the caller cannot set that header.
   *
   * For a sidecar without a port, the app proxies the request, with the same outcomes. The response streams, and so
   * does a body in the option `body` that is a stream or a large file; the body of a `Request` is read to its end first. There is
   * no HTTP cache; `redirect: "manual"` resolves with the redirect itself. Read a response body to its end or cancel it, because its
   * connection stays open until then, or until the page ends.
   */
  readonly fetch: (input: RequestInfo | URL, init?: RequestOptions) => Promise<Response>;

  /**
   * The messages of an event stream, across restarts. It resumes with `Last-Event-ID`, and waits while the sidecar is down, even
   * if it does not come back by itself. It ends when the loop ends, the signal is aborted, or the backend responds with 204. It
   * throws an `EventStreamError` if the response is not an event stream.
   *
   * It uses `fetch`, because `EventSource` cannot send a header. The backend's CORS must allow `Last-Event-ID`.
   */
  events(path: string, options?: EventsOptions): AsyncGenerator<ServerSentEvent, void, void>;

  /**
   * A WebSocket that follows the sidecar: it opens once the sidecar is ready, and opens again whenever it closes. It sends the
   * token of a private sidecar as a subprotocol, before those in `options`. For a sidecar without a
   * port, the app opens the WebSocket and sends the token itself; a message has at most 64 MiB.
   */
  webSocket(path: string, options?: WebSocketOptions): ReconnectingWebSocket;
}

/** An exit report, and the same in words. */
export type ExitReportWithSummary = ExitReport & { summary: string };

/** The shared state of each sidecar in this page, whatever the number of handles. */
const shared = new Map<string, { watch: StatusWatch; manager: ConnectionManager }>();

/** Returns a handle to the sidecar called `name`. It calls the app only when one of its methods is called. */
export function sidecar(name: string): Sidecar {
  const { watch, manager } = sharedState(name);
  /** Calls a command, and remembers the URL in its result. */
  const locate = async <T extends { url: string | null }>(command: string): Promise<T> => {
    const result = await call<T>(command, { sidecar: name });
    manager.remember(result.url);
    return result;
  };
  return {
    name,
    baseUrl: BASE_URL,
    ready: () => locate<Endpoint>("ready"),
    status: () => locate<Status>("status"),
    restart: () => locate<Endpoint>("restart"),
    swap: () => locate<Endpoint>("swap"),
    stop: () => call<void>("stop", { sidecar: name }),
    logs: (options, onLog, onError) => {
      const { since, tail, ...rest } = options;
      const at = typeof since === "number" ? since : since?.getTime();
      const query = { ...rest, tail: whole(tail), since: whole(at) };
      return subscribeToLogs(name, query, onLog, (error) => onError?.(error));
    },
    exitReports: () => call<ExitReportWithSummary[]>("exit_reports", { sidecar: name }),
    usage: (onUsage, options, onError) => {
      const query = { intervalMs: whole(options?.intervalMs) };
      return subscribe<Usage>(
        "usage",
        name,
        onUsage,
        (error) => onError?.(error),
        () => query,
      );
    },
    preconnect: () => manager.open(),
    watch: (onStatus, onError) => {
      const remember = (status: Status) => {
        manager.remember(status.url);
        onStatus(status);
      };
      return watch.add(remember, onError);
    },
    fetch: (input, init) => fetchWithRetries(manager, input, init),
    events: (path, options) => events(manager, path, options),
    webSocket: (path, options) => openWebSocket(manager, path, options),
  };
}

/** All sidecars of the app. */
export const sidecars = {
  /**
   * A zip file with all that is known of the sidecars: what they run, their last states, how their last runs ended, what the app keeps
   * of their output, and the end of their log files. Secrets are left out: tokens, values of environment variables, and what has the
   * name of a secret. What a sidecar prints of its users' data stays: let the user read the file before it is sent. Needs
   * `pillion:allow-diagnose`, whose scope says of which sidecars.
   *
   * @example
   * ```ts
   * const report = await sidecars.diagnose();
   * await writeFile(path, new Uint8Array(await report.arrayBuffer())); // @tauri-apps/plugin-fs
   * ```
   */
  async diagnose(): Promise<Blob> {
    // Where the webview cannot receive bytes, Tauri sends an array of numbers.
    const zip = await call<ArrayBuffer | number[]>("diagnose", {});
    return new Blob([new Uint8Array(zip)], { type: "application/zip" });
  },
};

/** The number as the app takes it, which has no fractions and no negative numbers. */
function whole(number: number | undefined): number | undefined {
  return typeof number === "number" ? Math.max(0, Math.trunc(number)) : undefined;
}

function sharedState(name: string) {
  let state = shared.get(name);
  if (!state) {
    const known = takeKnown(name);
    const watch = new StatusWatch(name, known);
    state = { watch, manager: new ConnectionManager(name, watch, known) };
    shared.set(name, state);
  }
  return state;
}
