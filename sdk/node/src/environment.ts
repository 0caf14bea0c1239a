/** The variables of the host (docs/protocol.md, section 4), read once and removed where child processes must not see them. */
import { overwriteToken } from "./environ-block.js";
import { parsePort } from "./ports.js";

/** The origins of Tauri's own pages: macOS and Linux; Windows and Android; the latter with `useHttpsScheme`. */
const TAURI_ORIGINS = ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"];

/** What the host asks of this run. */
export interface HostEnvironment {
  /** The port to listen on. 0: the system chooses. Ignored if the host passed a listener. */
  readonly port: number;
  /** The nonce that `/health` returns. */
  readonly instance: string | undefined;
  /** The token that every request has to carry. Undefined: requests need none. */
  readonly token: string | undefined;
  /** The origins whose pages may call, as in the `Origin` header. */
  readonly origins: readonly string[];
  /** Whether descriptor 3 is a listener from the host (`sd_listen_fds(3)`). */
  readonly inherited: boolean;
}

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Reads the variables of the host. An empty value counts as unset.
 *
 * Throws an error that names the variable and the cure if a value is invalid.
 */
export function readEnvironment(env: Variables, pid: number): HostEnvironment {
  checkProtocol(env.PILLION_PROTOCOL);
  const inherited = hasListener(env, pid);
  return {
    inherited,
    port: inherited ? 0 : requestedPort(env.PORT),
    instance: digits(env, "PILLION_INSTANCE", 32),
    token: digits(env, "PILLION_TOKEN", 64),
    origins: allowedOrigins(env.PILLION_ALLOWED_ORIGINS),
  };
}

/** The version of the protocol that this SDK speaks. */
export const PROTOCOL = "1";

/** A host of another major version does not understand this sidecar. */
function checkProtocol(version: string | undefined): void {
  if (!version || /^1(\.(0|[1-9][0-9]*))?$/.test(version)) return;
  throw new Error(
    `the host speaks version "${version}" of Pillion's protocol (PILLION_PROTOCOL), and this sidecar speaks version ${PROTOCOL}: ` +
      "update the older one of the two, so that both speak the same major version; without a host, unset the variable",
  );
}

/** A child inherits the variables of its parent, so a listener for another process is none for this one. */
function hasListener(env: Variables, pid: number): boolean {
  if (env.LISTEN_PID !== String(pid)) return false;
  if (env.LISTEN_FDS === "1") return true;
  throw new Error(
    `LISTEN_FDS is "${env.LISTEN_FDS ?? ""}", not 1: a sidecar takes exactly one listener from its host`,
  );
}

function requestedPort(text: string | undefined): number {
  if (!text) return 0;
  const port = parsePort(text);
  if (port !== undefined) return port;
  throw new Error(
    `PORT is "${text}": set it to a number from 1 to 65535, or unset it to let the system choose`,
  );
}

function digits(env: Variables, name: string, count: number): string | undefined {
  const value = env[name];
  if (!value) return undefined;
  if (value.length === count && /^[0-9a-f]+$/.test(value)) return value;
  // The value may be part of a secret, so the message does not contain it.
  throw new Error(
    `${name} is not ${count} lower-case hexadecimal digits: unset it, only a Pillion host sets it`,
  );
}

function allowedOrigins(list: string | undefined): string[] {
  if (!list) return TAURI_ORIGINS;
  const origins = list.split(",").map((entry) => entry.trim());
  return origins.filter((origin) => origin !== "").map(checkOrigin);
}

/** An origin as browsers write it (RFC 6454, section 6.1): no path, no wildcard, and not `null`, which all sandboxed pages share. */
function checkOrigin(origin: string): string {
  const [, port] = /^[a-z][a-z0-9+.-]*:\/\/(?:\[[0-9a-f:.]+\]|[^\s/?#@:*[\]A-Z]+)(?::(.*))?$/.exec(
    origin,
  ) ?? ["", "none"];
  if (port === undefined || parsePort(port) !== undefined) return origin;
  throw new Error(
    `PILLION_ALLOWED_ORIGINS lists "${origin}", which is not an origin: write scheme://host or scheme://host:port`,
  );
}

/** The variables that a child process must not inherit. */
const PRIVATE = ["PILLION_TOKEN", "PILLION_PIPE", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/** Reads the variables, then removes the token and the listener from them. Returns the error instead of throwing it. */
export function takeEnvironment(env: NodeJS.ProcessEnv, pid: number): HostEnvironment | Error {
  let taken: HostEnvironment | Error;
  try {
    taken = readEnvironment(env, pid);
  } catch (error) {
    taken = error as Error;
  }
  const hasToken = Boolean(env.PILLION_TOKEN);
  const ours = env.LISTEN_PID === String(pid);
  // The listener of another process is not ours to hide: this process may start that one.
  for (const name of PRIVATE) if (ours || !name.startsWith("LISTEN_")) delete env[name];
  if (hasToken) overwriteToken();
  return taken;
}

const taken = takeEnvironment(process.env, process.pid);

/** The variables of this process, taken when the module was loaded. Throws if one of them is invalid. */
export function hostEnvironment(): HostEnvironment {
  if (taken instanceof Error) throw taken;
  return taken;
}
