/** Stands in for the Rust side of the plugin, and for the backends that it would supervise. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { onTestFinished, vi } from "vitest";
import type { Access, Failure, Log, Status } from "../bindings.js";

/** Each test has a sidecar of its own, because a page keeps what it knows of each. */
let sidecars = 0;

/** `Promise.withResolvers`, which Node 20 does not have. */
export function deferred<T = void>() {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

interface Stream {
  /** Resolves or rejects the `watch` command that began it. */
  answer: ReturnType<typeof deferred<number>>;
  channel: number;
  index: number;
}

/** A plugin whose commands and streams the test answers and feeds. */
export function fakePlugin() {
  vi.stubGlobal("window", globalThis);
  const name = `backend-${++sidecars}`;
  const commands: string[] = [];
  const streams: Stream[] = [];
  const unwatched = deferred<unknown>();
  const last = { seq: 0 };
  /** What `connect` answers: the run that is up, or the next one. */
  let access = deferred<Access>();
  let isUp = false;

  mockIPC((command, payload) => {
    commands.push(command);
    const args = payload as { channel: { id: number }; id: number };
    if (command === "plugin:pillion|unwatch") unwatched.resolve(args.id);
    if (command === "plugin:pillion|connect") return access.promise;
    if (!/\|(watch|logs)$/.test(command)) return undefined;
    const stream = { answer: deferred<number>(), channel: args.channel.id, index: 0 };
    streams.push(stream);
    return stream.answer.promise;
  });
  onTestFinished(() => {
    clearMocks();
    vi.unstubAllGlobals();
  });

  /** Delivers a status as Tauri does: https://docs.rs/tauri/2/tauri/ipc/struct.Channel.html. */
  const send = (message: Status | Log) => {
    const stream = streams.at(-1);
    if (!stream) throw new Error("nothing is watching");
    const internals = window as unknown as {
      __TAURI_INTERNALS__: { runCallback(id: number, data: unknown): void };
    };
    internals.__TAURI_INTERNALS__.runCallback(stream.channel, { index: stream.index++, message });
  };

  /** The app knows of a run, or of none, and the page is not told yet. */
  const grant = (given: Access | null) => {
    if (isUp) access = deferred();
    isUp = given !== null;
    if (given) access.resolve(given);
  };

  /** The next change, with nothing known but the state. */
  const status = (state: Status["state"]): Status => {
    return { ...nothing, sidecar: name, seq: ++last.seq, at: Date.now(), state };
  };

  const say = (state: Status["state"], rest: Partial<Status> = {}, token: string | null = null) => {
    const { url = null, pid = null } = rest;
    grant(url === null ? null : { url, pid, token });
    send({ ...status(state), ...rest });
  };

  return {
    name,
    commands,
    streams,
    unwatched: unwatched.promise,
    send,
    say,
    status,
    grant,
    /** Has `connect` refused, as by a capability. */
    refuse: (why: unknown) => access.reject(why),
    /** What is said of a backend that serves. */
    ready: ({ url, port }: Backend, pid: number, state: "ready" | "unhealthy" = "ready") =>
      say(state, { url, port, pid }),
    /** The same of a private one. */
    readyWith: (token: string, { url, port }: Backend, pid: number) =>
      say("ready", { url, port, pid }, token),
    failure: (kind: Failure["kind"]): Failure => ({
      kind,
      message: `${name} was killed by SIGKILL while it was in use`,
      detail: { sidecar: name, exit: { code: null, signal: 9 }, tail: ["out of memory"] },
    }),
  };
}

const nothing = {
  pid: null,
  port: null,
  url: null,
  version: null,
  reason: null,
  failure: null,
  exit: null,
  restarts: 0,
};

/** A real server on a port of its own, that can die as a process does: all connections are reset. */
export interface Backend {
  url: string;
  port: number;
  server: Server;
  /** The requests that arrived, as `GET /path`. */
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
  await new Promise<void>((listening) => server.listen(port, "127.0.0.1", listening));
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
