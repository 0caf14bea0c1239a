import type { Endpoint, Log, Status } from "./bindings.js";
import { type EventsOptions, events, type ServerSentEvent } from "./events.js";
import { type RequestOptions, send } from "./fetch.js";
import { call } from "./ipc.js";
import { Line } from "./line.js";
import { type Socket, type SocketOptions, webSocket } from "./socket.js";
import { type EndStream, stream } from "./stream.js";
import { type StopWatching, Watch } from "./watch.js";

/** One sidecar of the app, by the name it has in `tauri.conf.json`. All methods act on the process of the moment. */
export interface Sidecar {
  readonly name: string;

  /** Waits until the sidecar is ready and says where; rejects with a `SidecarError` if it will not be. */
  ready(): Promise<Endpoint>;

  /** The state of this moment. */
  status(): Promise<Status>;

  /** Starts a sidecar that is down, or stops and starts one that is up; settles as `ready` does. */
  restart(): Promise<Endpoint>;

  /**
   * Replaces the process by a new one of the same program without a gap: the new one takes over once it is ready, and
   * only then is the old one stopped. Rejects when the new one does not get ready, and nothing has changed then.
   */
  swap(): Promise<Endpoint>;

  /** Stops it, and settles when nothing of it is left. It stays down until somebody restarts it. */
  stop(): Promise<void>;

  /**
   * Calls `onStatus` with the present state and then with each later one, in order and none twice, so that it
   * does not matter how late the watch begins. `onError` is called at most once, when the watch could not begin.
   */
  watch(onStatus: (status: Status) => void, onError?: (error: Error) => void): StopWatching;

  /**
   * Calls `onLog` with what the sidecar writes from now on, through all its restarts. A page that is too slow is told that
   * something is missing. `onError` is called at most once, when it could not begin. Needs `pillion:allow-logs`.
   */
  logs(onLog: (log: Log) => void, onError?: (error: Error) => void): EndStream;

  /**
   * Asks the app for what the first request needs, so that it need not wait for that: for pages that know early that they
   * will call. What goes wrong is that request's to say.
   */
  preconnect(): void;

  /**
   * The platform's `fetch`, for a path (`/notes?page=2`) of whatever run of the sidecar is there. Where there is none
   * it waits for the next one; where one went away before it answered, the request is sent to the next one, up to
   * three times in all, if it may be sent twice (see `RequestOptions`).
   *
   * Rejects as `fetch` does, with `init.signal`'s reason whenever that is aborted, and besides with an `Interrupted`,
   * when the request was sent, may have been done, and is not sent again; or with another `SidecarError`, when it was
   * not sent: the sidecar does not come back by itself (`kind` and `failure` say why), or not within `patience`
   * (`kind` is `starting`, `restarting` or `stopping`). A body that breaks off rejects where it is read.
   *
   * Carries the token of a private sidecar as `Authorization`, which is therefore not the caller's to set.
   *
   * A sidecar on a socket is called by way of the app, with the same outcomes. The answer streams; the body of a request is
   * read whole first; there is no HTTP cache; `redirect: "manual"` gives the redirect itself. A body that is not read to
   * its end has to be cancelled, or its connection stays open until the page goes.
   */
  fetch(path: string, init?: RequestOptions): Promise<Response>;

  /**
   * The messages of an event stream, across restarts: resumed with `Last-Event-ID`, waited for while the sidecar is
   * down, also where somebody has to start it again. It ends when the loop is left, the signal aborted, or the backend
   * answers 204; it throws an `EventStreamError` for an answer that is no event stream.
   *
   * Read over `fetch`, since `EventSource` cannot send a header. The backend's CORS must allow `Last-Event-ID`.
   */
  events(path: string, options?: EventsOptions): AsyncGenerator<ServerSentEvent, void, void>;

  /**
   * A WebSocket that follows the sidecar: opened once it is ready, and opened again whenever it closes. It carries the token
   * of a private sidecar as a subprotocol, before those in `options`. Not for a sidecar on a socket: that is `onError`.
   */
  webSocket(path: string, options?: SocketOptions): Socket;
}

/** What a page knows of each sidecar, however many handles it has. */
const known = new Map<string, { watch: Watch; line: Line }>();

/** The handle to the sidecar called `name`. Nothing is asked of the app until a method is called. */
export function sidecar(name: string): Sidecar {
  const { watch, line } = ofSidecar(name);
  return {
    name,
    ready: () => call<Endpoint>("ready", { sidecar: name }),
    status: () => call<Status>("status", { sidecar: name }),
    restart: () => call<Endpoint>("restart", { sidecar: name }),
    swap: () => call<Endpoint>("swap", { sidecar: name }),
    stop: () => call<void>("stop", { sidecar: name }),
    logs: (onLog, onError) => stream<Log>("logs", name, onLog, (error) => onError?.(error)),
    preconnect: () => line.open(),
    watch: (onStatus, onError) => watch.add(onStatus, onError),
    fetch: (path, init) => send(line, path, init),
    events: (path, options) => events(line, path, options),
    webSocket: (path, options) => webSocket(line, path, options),
  };
}

function ofSidecar(name: string) {
  let found = known.get(name);
  if (!found) {
    const watch = new Watch(name);
    found = { watch, line: new Line(name, watch) };
    known.set(name, found);
  }
  return found;
}
