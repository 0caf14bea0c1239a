/** Fakes of the plugin's Rust side, and of the backends that it supervises. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { onTestFinished, vi } from "vitest";
import type { Access, Failure, Log, Status, Usage } from "../bindings.js";
import { readinessOf } from "../readiness.js";

/** Each test has a sidecar of its own name, because a page shares state between the handles of one name. */
let sidecars = 0;

/** `Promise.withResolvers`, which Node 20 lacks. */
export function deferred<T = void>() {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

interface FakeSubscription {
  /** Resolves or rejects the `watch`, `logs` or `usage` command. */
  response: ReturnType<typeof deferred<number>>;
  channel: number;
  index: number;
}

/**
 * A plugin whose responses and messages the test provides. For a sidecar on demand, each `connect` returns another lease. `refused` is
 * a command for which the window has no permission.
 */
export function fakePlugin({ onDemand = false, refused = "" } = {}) {
  vi.stubGlobal("window", globalThis);
  const name = `backend-${++sidecars}`;
  const commands: string[] = [];
  const subscriptions: FakeSubscription[] = [];
  /** The queries of `logs` and `usage`. */
  const queries: unknown[] = [];
  /** Which messages of `logs` the page has handled. */
  const handled: { id: number; messages: number }[] = [];
  let onHandled = () => {};
  const unwatched = deferred<unknown>();
  /** The leases that `connect` has returned, in the order of their ids from 1 on; each resolves when the page ends it. */
  const leases: { ended: ReturnType<typeof deferred<void>>; isHeld: boolean }[] = [];
  const last = { seq: 0 };
  /** The response to `connect`: the current run, or the next one. */
  let access = deferred<Access>();
  let isUp = false;

  mockIPC((command, payload) => {
    commands.push(command);
    // As Tauri does in a release.
    if (command === `plugin:pillion|${refused}`) throw `Command ${command} not allowed by ACL`;
    const args = payload as {
      channel: { id: number };
      id: number;
      query?: unknown;
      handled?: { id: number; messages: number };
    };
    if (args.handled) {
      handled.push(args.handled);
      onHandled();
      return args.handled.id;
    }
    if (command === "plugin:pillion|unwatch") {
      unwatched.resolve(args.id);
      const lease = leases[args.id - 1];
      if (lease) lease.isHeld = false;
      lease?.ended.resolve();
    }
    if (command === "plugin:pillion|connect") {
      const begin = () => leases.push({ ended: deferred(), isHeld: true });
      return access.promise.then((access) => ({ ...access, lease: onDemand ? begin() : null }));
    }
    if (!/\|(watch|logs|usage)$/.test(command)) return undefined;
    if (args.query) queries.push(args.query);
    const subscription = { response: deferred<number>(), channel: args.channel.id, index: 0 };
    subscriptions.push(subscription);
    return subscription.response.promise;
  });
  onTestFinished(() => {
    clearMocks();
    vi.unstubAllGlobals();
  });

  /** Sends a message as Tauri does: https://docs.rs/tauri/2/tauri/ipc/struct.Channel.html. */
  const send = (message: Status | Log | Usage) => {
    const subscription = subscriptions.at(-1);
    if (!subscription) throw new Error("there is no subscription");
    const internals = window as unknown as {
      __TAURI_INTERNALS__: { runCallback(id: number, data: unknown): void };
    };
    internals.__TAURI_INTERNALS__.runCallback(subscription.channel, {
      index: subscription.index++,
      message,
    });
  };

  /** Sets the response to `connect`; null means that there is no run. The page receives no status. */
  const setAccess = (value: Access | null) => {
    if (isUp) access = deferred();
    isUp = value !== null;
    if (value) access.resolve(value);
  };

  /** The next status, with only its state and the usual readiness set. */
  const status = (state: Status["state"]): Status => {
    const readiness = readinessOf[state];
    return { ...emptyFields, sidecar: name, seq: ++last.seq, at: Date.now(), state, readiness };
  };

  /** Sends the next status, and sets the response to `connect` accordingly. */
  const sendStatus = (state: Status["state"], rest: Partial<Status> = {}, token: string | null = null) => {
    const { url = null, pid = null } = rest;
    setAccess(url === null ? null : { url, pid, token });
    send({ ...status(state), ...rest });
  };

  return {
    name,
    commands,
    subscriptions,
    queries,
    handled,
    /** The next message about handled messages. */
    nextHandled: () =>
      new Promise<void>((resolve) => {
        onHandled = resolve;
      }),
    unwatched: unwatched.promise,
    leases,
    send,
    sendStatus,
    status,
    setAccess,
    /** Rejects `connect`, as a missing permission does. */
    rejectConnect: (reason: unknown) => access.reject(reason),
    /** Sends the status of a run that serves at the backend's URL. */
    ready: ({ url, port }: Backend, pid: number, state: "ready" | "unhealthy" = "ready") =>
      sendStatus(state, { url, port, pid }),
    /** As `ready`, for a private sidecar. */
    readyWithToken: (token: string, { url, port }: Backend, pid: number) =>
      sendStatus("ready", { url, port, pid }, token),
    failure: (kind: Failure["kind"]): Failure => ({
      kind,
      message: `${name} was killed by SIGKILL while it was in use`,
      detail: { sidecar: name, exit: { code: null, signal: 9 }, tail: ["out of memory"] },
    }),
  };
}

const emptyFields = {
  pid: null,
  started: null,
  port: null,
  url: null,
  version: null,
  progress: null,
  reason: null,
  failure: null,
  exit: null,
  restarts: 0,
};

/** A real server on a port of its own. `crash` resets all connections, as the death of a process does. */
export interface Backend {
  url: string;
  port: number;
  server: Server;
  /** The requests that arrived, as in `GET /path`. */
  requests: string[];
  crash(): Promise<void>;
}

export async function backend(listener: RequestListener, port = 0): Promise<Backend> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    listener(request, response);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const crash = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.resetAndDestroy();
    await closed;
  };
  onTestFinished(async () => {
    if (server.listening) await crash();
  });
  const bound = (server.address() as AddressInfo).port;
  return { url: `http://127.0.0.1:${bound}`, port: bound, server, requests, crash };
}

/** The whole body of a request. */
export async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
