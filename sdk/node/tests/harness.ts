/** Starts servers that use the built SDK, and talks to them in raw bytes. Every wait ends with an event. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

export const TOKEN = "a5".repeat(32);
export const INSTANCE = "0700ff10".repeat(4);
export const BEARER = `Authorization: Bearer ${TOKEN}`;

/** The command that runs a script. Set `SDK_RUNTIME` to try another one, such as `bun` or `deno run -A`. */
const RUNTIME = process.env.SDK_RUNTIME?.split(" ") ?? [process.execPath];

export interface Start {
  readonly env?: Record<string, string>;
  /** What stdin is. A pipe is a lifeline. Default: `/dev/null`. */
  readonly stdin?: "ignore" | "pipe" | number;
  readonly arguments?: readonly string[];
  /** The descriptor that the server inherits as descriptor 3. */
  readonly inherit?: number | undefined;
}

/** Starts `tests/servers/{name}`. The test kills it at its end. */
export function start(name: string, options: Start = {}): Sidecar {
  const sidecar = launch(name, options);
  onTestFinished(() => sidecar.kill("SIGKILL"));
  return sidecar;
}

/**
 * Starts `tests/servers/{name}`. The caller kills it. In variables, `{pid}` stands for its process id: a shell knows it before it
 * becomes the server.
 */
export function launch(
  name: string,
  { env = {}, stdin = "ignore", inherit, arguments: args = [] }: Start = {},
): Sidecar {
  const clean = Object.entries(process.env).filter(([key]) => !/^(PORT$|PILLION_|LISTEN_)/.test(key));
  const command = [...RUNTIME, fileURLToPath(new URL(`servers/${name}`, import.meta.url)), ...args];
  const own = Object.entries(env).filter(([, value]) => value.includes("{pid}"));
  if (own.length > 0) {
    const exports = own.map(([key, value]) => `export ${key}=${value.replaceAll("{pid}", () => "$$")}; `);
    command.unshift("sh", "-c", `${exports.join("")}exec "$@"`, "sh");
  }
  const [program = "", ...rest] = command;
  const child = spawn(program, rest, {
    env: { ...Object.fromEntries(clean), ...env },
    stdio: [stdin, "pipe", "pipe", ...(inherit === undefined ? [] : [inherit])],
  });
  return new Sidecar(child);
}

/** Starts a server with a token and waits for its announcement. */
export async function startPrivate(name: string, options: Start = {}): Promise<Sidecar> {
  const env = { PILLION_TOKEN: TOKEN, PILLION_INSTANCE: INSTANCE, ...options.env };
  const sidecar = start(name, { ...options, env });
  await sidecar.announced();
  return sidecar;
}

export class Sidecar {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  port = 0;
  /** The path of the socket on which it listens, instead of a port. */
  path: string | undefined;
  readonly ended: Promise<number | NodeJS.Signals | null>;

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.ended = once(child, "close").then(([code, signal]) => code ?? signal);
  }

  /** Waits for the first whole line on stdout. Fails if the process ends before. */
  async announced(): Promise<string> {
    while (!this.stdout.includes("\n")) {
      const event = this.child.stdout as NodeJS.ReadableStream;
      const ended = this.ended.then((code) => {
        throw new Error(`it ended with ${code}: ${this.stderr}`);
      });
      await Promise.race([once(event, "data"), ended]);
    }
    const line = this.stdout.slice(0, this.stdout.indexOf("\n") + 1);
    this.port = Number(/^BACKEND_PORT:(\d+)\n$/.exec(line)?.[1] ?? 0);
    return line;
  }

  /** Waits until stderr contains `text`. */
  async says(text: string): Promise<void> {
    while (!this.stderr.includes(text)) await once(this.child.stderr as NodeJS.ReadableStream, "data");
  }

  /** Waits for the end. Returns the exit code, or the signal. */
  end(): Promise<number | NodeJS.Signals | null> {
    return this.ended;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** The value of `Host`. */
  get host(): string {
    return this.path === undefined ? `127.0.0.1:${this.port}` : "localhost";
  }

  /** Opens a connection. */
  async connect(): Promise<Connection> {
    const { path, port } = this;
    const address = path === undefined ? { port, host: "127.0.0.1" } : { path };
    const socket = connect({ ...address, allowHalfOpen: true });
    await once(socket, "connect");
    onTestFinished(() => void socket.destroy());
    return new Connection(socket, this.host);
  }

  /** Sends one request on a new connection, and returns all that the server sends until it closes its side. */
  async request(line: string, ...headers: string[]): Promise<string> {
    const connection = await this.connect();
    connection.send(`${line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n${lines(headers)}\r\n`);
    return connection.rest();
  }
}

export const lines = (headers: readonly string[]): string =>
  headers.map((header) => `${header}\r\n`).join("");

/** A connection in raw bytes. */
export class Connection {
  received = "";
  readonly socket: Socket;
  readonly #host: string;
  #ended = false;
  error: Error | undefined;

  constructor(socket: Socket, host: string) {
    this.socket = socket;
    this.#host = host;
    // Several waits at the same time.
    socket.setMaxListeners(0);
    socket.setEncoding("latin1").on("data", (text: string) => {
      this.received += text;
    });
    socket.on("end", () => {
      this.#ended = true;
    });
    socket.on("error", (error) => {
      this.error = error;
      this.#ended = true;
    });
  }

  /** Sends text, in which `{host}` stands for the address of the server. */
  send(text: string): void {
    this.socket.write(text.replaceAll("{host}", this.#host), "latin1");
  }

  /** Waits until `text` has arrived. Fails if the server closes its side before. */
  async until(text: string | RegExp): Promise<string> {
    const found = () => (typeof text === "string" ? this.received.includes(text) : text.test(this.received));
    while (!found()) {
      if (this.#ended) throw new Error(`${text} is missing in: ${this.received}`);
      await Promise.race([once(this.socket, "data"), once(this.socket, "end"), once(this.socket, "close")]);
    }
    return this.received;
  }

  /** Waits for the end of one answer, or for the end of the connection. Returns what has arrived. */
  async answer(isHead: boolean): Promise<string> {
    for (;;) {
      const end = this.received.indexOf("\r\n\r\n") + 4;
      if (this.#ended || (end > 3 && isWhole(this.received, end, isHead))) return this.received;
      await Promise.race([once(this.socket, "data"), once(this.socket, "end"), once(this.socket, "close")]);
    }
  }

  /** Waits until the server closes its side, and returns what has arrived. */
  async rest(): Promise<string> {
    while (!this.#ended && !this.socket.closed) {
      await Promise.race([once(this.socket, "end"), once(this.socket, "close")]);
    }
    return this.received;
  }
}

/** Whether the body that starts at `at` has arrived (RFC 9112, section 6.3). */
function isWhole(bytes: string, at: number, isHead: boolean): boolean {
  if (isHead || [101, 204, 304].includes(status(bytes))) return true;
  const [length] = header(bytes, "content-length");
  if (length !== undefined) return bytes.length >= at + Number(length);
  return header(bytes, "transfer-encoding").includes("chunked") && bytes.endsWith("0\r\n\r\n");
}

/** The body of the first answer in `bytes`, which has a length. */
export const bodyOf = (bytes: string): string => bytes.slice(bytes.indexOf("\r\n\r\n") + 4);

/** The status of the first answer in `bytes`. */
export function status(bytes: string): number {
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(bytes)?.[1] ?? 0);
}

/** The values of a header in the first answer in `bytes`. */
export function header(bytes: string, name: string): string[] {
  const head = bytes.slice(0, bytes.indexOf("\r\n\r\n")).split("\r\n");
  const prefix = `${name.toLowerCase()}: `;
  return head
    .filter((line) => line.toLowerCase().startsWith(prefix))
    .map((line) => line.slice(prefix.length));
}
