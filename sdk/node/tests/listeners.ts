/** Listeners that a server inherits as descriptor 3, as a host passes them. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type ListenOptions, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Listener {
  readonly descriptor: number;
  readonly port: number;
  /** Only for a Unix domain socket, once `handOver` has run. */
  readonly path: string | undefined;
  /** Call it when the server has started: from then on, the server alone accepts. */
  handOver(): void;
  /** Removes what is left. */
  close(): void;
}

const descriptorOf = (holder: unknown): number => (holder as { _handle: { fd: number } })._handle.fd;

async function listening(options: ListenOptions): Promise<Server> {
  const server = createServer().listen(options);
  await once(server, "listening");
  return server;
}

/** What `descriptor3` of docs/protocol/README.md names. */
export async function listener(kind: string): Promise<Listener> {
  const none = { port: 0, path: undefined, handOver() {}, close() {} };
  if (kind === "file") return { ...none, descriptor: openSync(fileURLToPath(import.meta.url), "r") };
  if (kind === "udp") {
    const socket = createSocket("udp4").bind(0, "127.0.0.1");
    await once(socket, "listening");
    return { ...none, descriptor: descriptorOf(socket), close: () => socket.close() };
  }
  if (kind === "unix") return unixListener();
  const host = kind === "tcp" || kind === "connection" ? "127.0.0.1" : kind.slice(4).replace(/[[\]]/g, "");
  const server = await listening({ port: 0, host });
  const { port } = server.address() as AddressInfo;
  if (kind === "connection") {
    const socket = connect(port, host);
    await once(socket, "connect");
    const close = () => {
      socket.destroy();
      server.close();
    };
    return { ...none, descriptor: descriptorOf(socket), close };
  }
  return {
    ...none,
    descriptor: descriptorOf(server),
    port,
    handOver: () => void server.close(),
    close: () => void server.close(),
  };
}

async function unixListener(): Promise<Listener> {
  const folder = mkdtempSync(join(tmpdir(), "pillion-"));
  const [first, path] = [join(folder, "bound"), join(folder, "socket")];
  const server = await listening({ path: first });
  return {
    descriptor: descriptorOf(server),
    port: 0,
    path,
    handOver() {
      // Node removes the path that it has bound.
      renameSync(first, path);
      server.close();
    },
    close() {
      server.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** The ports on which a process listens. Linux only. */
export function portsOf(pid: number): number[] {
  const folder = `/proc/${pid}/fd`;
  const sockets = readdirSync(folder).map((name) => {
    try {
      return readlinkSync(join(folder, name));
    } catch {
      return "";
    }
  });
  const table = ["tcp", "tcp6"].flatMap((name) =>
    readFileSync(`/proc/${pid}/net/${name}`, "latin1").split("\n"),
  );
  return table.flatMap((line) => {
    const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
    return state === "0A" && sockets.includes(`socket:[${inode}]`)
      ? [Number.parseInt(local.split(":")[1] ?? "", 16)]
      : [];
  });
}
