/**
 * Fake sidecars for a page without its app: in a normal browser, and in tests.
 *
 * @example
 * ```ts
 * import { mockSidecars } from "tauri-plugin-pillion-api/mocks";
 *
 * mockSidecars({ backend: "http://127.0.0.1:4242" });                          // a server that you started
 * mockSidecars({ backend: () => Response.json({ text: "Hello from a test" }) }); // no server
 * ```
 *
 * @module
 */
import { mockIPC } from "@tauri-apps/api/mocks";
import type { Access, Endpoint, State, Status } from "./bindings.js";
import { unavailable } from "./error.js";
import { readinessOf } from "./readiness.js";

/** Answers the requests to a fake sidecar. It gets the request as the server would, with the URL's path and query. */
export type MockHandler = (request: Request) => Response | Promise<Response>;

/** The base URL of a server that runs, or a function that answers in its place. */
export type MockSidecar = string | URL | MockHandler;

/** The part of a status that a test chooses: `readiness` follows from the state. */
export type MockStatus = Partial<Omit<Status, "sidecar" | "seq" | "at" | "readiness">> & { state: State };

/** What a test does with the fake sidecars. */
export interface Mocks {
  /** Gives a fake sidecar another status. Until then, and after `"ready"`, it serves. */
  setStatus(sidecar: string, status: MockStatus): void;
  /** The page is as it was before `mockSidecars`. Requests and subscriptions that go on are left alone. */
  restore(): void;
}

type Invoke = (command: string, args?: unknown, options?: unknown) => Promise<unknown>;

interface Internals {
  invoke: Invoke;
  runCallback(id: number, message: unknown): void;
}

/** A subscription of the page to the status of a sidecar. It outlasts a mock, because a page keeps its subscriptions. */
interface Watch {
  sidecar: string;
  /** Sends a message as Tauri sends one of a channel. */
  send(status: Status): void;
}

const COMMAND = "plugin:pillion|";
const watches = new Map<number, Watch>();
const statuses = new Map<string, Status>();
let lastSeq = 0;
let lastId = 0;
let lastPid = 0;
/** Undoes the present mock. */
let restore: (() => void) | null = null;

/**
 * Answers the calls of `sidecar` and `sidecars` in this page, by name, instead of an app. A sidecar that is not named does not exist.
 * Another call replaces the sidecars of the first.
 *
 * A request goes to the server at the URL, which must allow the origin of the page (CORS), without a token; or to the function. `restart`,
 * `swap` and `stop` change the status alone. WebSockets need a URL. Output, usage and exit reports are empty. Other calls of the page to its
 * app go to the mock that `mockIPC` of `@tauri-apps/api/mocks` has set before, and reject without one.
 */
export function mockSidecars(sidecars: Record<string, MockSidecar>): Mocks {
  restore?.();
  const global = globalThis as typeof globalThis & { __TAURI_INTERNALS__?: Partial<Internals> };
  const before = global.__TAURI_INTERNALS__?.invoke;
  // It also makes the functions for callbacks.
  if (!before) mockIPC(() => undefined);
  const internals = global.__TAURI_INTERNALS__ as Internals;
  const { fetch } = globalThis;
  const names = Object.keys(sidecars);
  const urls = new Map(names.map((name, index) => [name, urlOf(sidecars[name], index)]));
  const handlers = new Map<string, MockHandler>();
  for (const name of names) {
    const mock = sidecars[name];
    if (typeof mock === "function") handlers.set(urls.get(name) as string, mock);
  }

  const setStatus = (sidecar: string, status: MockStatus) => {
    const url = urls.get(sidecar);
    if (url === undefined) throw new TypeError(unknown(sidecar, names));
    const next = statusOf(sidecar, url, status);
    statuses.set(sidecar, next);
    for (const watch of watches.values()) if (watch.sidecar === sidecar) watch.send(next);
  };

  internals.invoke = async (command, args, options) => {
    if (!command.startsWith(COMMAND)) {
      if (before) return before(command, args, options);
      throw `${command} is not mocked: call mockIPC of @tauri-apps/api/mocks before mockSidecars`;
    }
    // An app never answers before the call returns.
    await undefined;
    return answer(command.slice(COMMAND.length), args as Args, { internals, names, setStatus });
  };
  globalThis.fetch = (input, init) => {
    if (!(input instanceof Request)) return fetch(input, init);
    const handler = handlers.get(new URL(input.url).origin);
    return handler ? handle(handler, new Request(input, init)) : fetch(input, init);
  };
  for (const name of names) setStatus(name, { state: "ready" });

  const undo = () => {
    if (restore !== undo) return;
    restore = null;
    globalThis.fetch = fetch;
    if (before) internals.invoke = before;
    else delete (internals as Partial<Internals>).invoke;
  };
  restore = undo;
  return { setStatus, restore: undo };
}

type Args = { sidecar?: string; channel?: { id: number }; id?: number };

/** What the app answers to a command. */
function answer(
  command: string,
  { sidecar = "", channel, id }: Args,
  { internals, names, setStatus }: { internals: Internals; names: string[]; setStatus: Mocks["setStatus"] },
): unknown {
  if (command === "unwatch") return void watches.delete(id as number);
  const status = statuses.get(sidecar);
  if (!status || !names.includes(sidecar)) {
    const detail = { sidecar, exit: null, tail: [] };
    throw { kind: "unknownSidecar", message: unknown(sidecar, names), detail };
  }
  switch (command) {
    case "status":
      return status;
    case "watch": {
      const { runCallback } = internals;
      let index = 0;
      const send = (message: Status) =>
        runCallback((channel as { id: number }).id, { index: index++, message });
      lastId += 1;
      watches.set(lastId, { sidecar, send });
      send(status);
      return lastId;
    }
    case "logs":
    case "usage":
      lastId += 1;
      return lastId;
    case "exit_reports":
      return [];
    case "connect":
      return { ...accessOf(status), lease: null };
    case "ready":
      return endpointOf(status);
    case "restart":
    case "swap":
      lastPid += 1;
      setStatus(sidecar, { state: "ready", pid: lastPid });
      return endpointOf(statuses.get(sidecar) as Status);
    case "stop":
      setStatus(sidecar, { state: "stopped", reason: "it was stopped" });
      return null;
    default:
      throw `mockSidecars has no ${command}: mock the function of your page that calls it`;
  }
}

function statusOf(sidecar: string, url: string, status: MockStatus): Status {
  const readiness = readinessOf[status.state];
  const up = readiness === "up";
  const before = statuses.get(sidecar);
  const goesOn = up && before?.readiness === "up";
  if (up && !goesOn) lastPid += 1;
  const now = Date.now();
  lastSeq += 1;
  return {
    sidecar,
    pid: goesOn ? before.pid : up ? lastPid : null,
    started: goesOn ? before.started : up ? now : null,
    port: up ? Number(new URL(url).port) || null : null,
    url: up ? url : null,
    version: null,
    progress: null,
    reason: null,
    failure: null,
    exit: null,
    restarts: 0,
    ...status,
    seq: lastSeq,
    at: now,
    readiness,
  };
}

function accessOf(status: Status): Access {
  const { url, pid } = endpointOf(status);
  return { url: url as string, pid, token: null };
}

function endpointOf(status: Status): Endpoint {
  const { sidecar, url, pid, port, version } = status;
  if (status.readiness !== "up") {
    const { kind, message, detail } = unavailable(status.sidecar, status).error;
    // As the app rejects a call: with a plain object.
    throw { kind, message, detail };
  }
  return { sidecar, url, pid, port, version };
}

/** The answer, or a rejection as of `fetch` when the request is aborted first. */
function handle(handler: MockHandler, request: Request): Promise<Response> {
  return new Promise((resolve, reject) => {
    const { signal } = request;
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    Promise.resolve()
      .then(() => handler(request))
      .then(resolve, reject);
  });
}

/** The URL of a server, without a slash at its end; or one that no server has. */
function urlOf(mock: MockSidecar | undefined, index: number): string {
  if (typeof mock === "function") return `http://sidecar-${index}.invalid`;
  return String(mock).replace(/\/+$/, "");
}

function unknown(sidecar: string, names: string[]): string {
  return `mockSidecars has no sidecar ${JSON.stringify(sidecar)}; it has ${names.join(", ") || "none"}`;
}
