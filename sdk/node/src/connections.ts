/** The open connections: which one has shown the token, what is in flight, and how each one is closed. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** How long a connection may exist without a request that is served. */
const FIRST_TOKEN_MS = 5000;
/** How many connections that have shown no token may exist at the same time. A further one closes the oldest of them. */
const MAX_UNAUTHORIZED = 192;
/** How long a handler may continue after its client has closed its side and reads nothing. TCP does not tell whether the client is
 * gone, or has half-closed the connection and waits for the response. */
const ABANDONED_MS = 1000;
/** How long a lingering close waits for the next bytes, how long it takes altogether, and how many bytes it discards. */
const LINGER_IDLE_MS = 2000;
const LINGER_MS = 30_000;
const LINGER_BYTES = 256 * 1024 * 1024;

interface Connection {
  /** A request of it was served. */
  authorized: boolean;
  /** A refusal closes it: later requests reach no handler. */
  refused: boolean;
  /** Requests without the end of their response. */
  inFlight: number;
  /** The newest request. */
  request: IncomingMessage | undefined;
}

/** All connections of a server except those that a handler has upgraded: the handler owns them. */
export class Connections {
  readonly #open = new Map<Socket, Connection>();
  readonly #unauthorized = new Set<Socket>();
  #inFlight = 0;
  #stopping = false;
  #drained: (() => void) | undefined;

  /** Starts to watch a new connection. */
  add(socket: Socket): Connection {
    const known = this.#open.get(socket);
    if (known !== undefined) return known;
    const connection: Connection = { authorized: false, refused: false, inFlight: 0, request: undefined };
    this.#open.set(socket, connection);
    if (this.#unauthorized.size >= MAX_UNAUTHORIZED) this.#unauthorized.values().next().value?.destroy();
    this.#unauthorized.add(socket);
    const timer = setTimeout(() => {
      if (!connection.authorized && this.#open.has(socket)) socket.destroy();
    }, FIRST_TOKEN_MS);
    timer.unref();
    socket.once("close", () => {
      clearTimeout(timer);
      this.#remove(socket);
    });
    socket.once("end", () => closeAbandoned(socket, connection));
    lingerOnClose(socket, connection);
    return connection;
  }

  /** Counts a request as in flight until its response ends. */
  start(socket: Socket, request: IncomingMessage, response: ServerResponse): void {
    const connection = this.add(socket);
    connection.request = request;
    connection.inFlight += 1;
    this.#inFlight += 1;
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      connection.inFlight -= 1;
      this.#inFlight -= 1;
      // After Node's own listeners, which decide whether the connection stays open.
      if (this.#stopping) setImmediate(() => this.#closeIdle(socket, connection));
      this.#check();
    };
    response.once("finish", end);
    response.once("close", end);
  }

  /** A request of this connection is served: it is never closed for lack of a token. */
  authorize(socket: Socket): void {
    this.add(socket).authorized = true;
    this.#unauthorized.delete(socket);
  }

  /** Lets a refusal end its connection, unless an earlier request was served. Returns whether it ends. */
  refuse(socket: Socket): boolean {
    const connection = this.add(socket);
    connection.refused = !connection.authorized;
    return connection.refused;
  }

  /** Whether a refusal has ended this connection. */
  isRefused(socket: Socket): boolean {
    return this.add(socket).refused;
  }

  /** Whether a response is in flight on this connection. */
  isBusy(socket: Socket): boolean {
    return this.add(socket).inFlight > 0;
  }

  /** A handler owns this connection now. */
  release(socket: Socket): void {
    this.#remove(socket);
  }

  /** Closes the idle connections at once and the others after their response. Resolves when none is left. */
  drain(): Promise<void> {
    this.#stopping = true;
    return new Promise((resolve) => {
      this.#drained = resolve;
      for (const [socket, connection] of [...this.#open]) this.#closeIdle(socket, connection);
      this.#check();
    });
  }

  /** Cuts all connections. Returns how many there were. */
  cut(): number {
    const open = [...this.#open.keys()];
    for (const socket of open) socket.destroy();
    return open.length;
  }

  #closeIdle(socket: Socket, connection: Connection): void {
    if (connection.inFlight === 0 && this.#open.has(socket)) socket.destroySoon();
  }

  #remove(socket: Socket): void {
    this.#unauthorized.delete(socket);
    if (this.#open.delete(socket)) this.#check();
  }

  #check(): void {
    if (this.#stopping && this.#open.size === 0 && this.#inFlight === 0) this.#drained?.();
  }
}

/** Node closes a connection by `destroySoon`. To close a socket with unread bytes resets the connection, and the reset can
 * destroy a response that the client has not read yet (RFC 9112, section 9.6). */
function lingerOnClose(socket: Socket, connection: Connection): void {
  const close = socket.destroySoon;
  let lingers = false;
  socket.destroySoon = () => {
    const { request, refused } = connection;
    const unread = refused || (request !== undefined && !request.complete);
    if (!unread || socket.readableEnded || socket.destroyed) return close.call(socket);
    if (lingers) return;
    lingers = true;
    linger(socket);
  };
}

/** Ends our side, then reads and discards until the client closes its side, within limits. The HTTP parser reads. */
function linger(socket: Socket): void {
  socket.end();
  const start = socket.bytesRead;
  const deadline = performance.now() + LINGER_MS;
  let seen = start;
  const timer = setInterval(() => {
    const read = socket.bytesRead;
    if (read === seen || read - start > LINGER_BYTES || performance.now() > deadline) socket.destroy();
    seen = read;
  }, LINGER_IDLE_MS);
  socket.once("end", () => socket.destroy());
  socket.once("close", () => clearInterval(timer));
}

/** Destroys a connection whose client has closed its side, once no response is in flight or the client reads nothing. */
function closeAbandoned(socket: Socket, connection: Connection): void {
  let written = socket.bytesWritten;
  const timer = setInterval(() => {
    const now = socket.bytesWritten;
    if (connection.inFlight === 0 || now === written) socket.destroy();
    written = now;
  }, ABANDONED_MS);
  socket.once("close", () => clearInterval(timer));
}
