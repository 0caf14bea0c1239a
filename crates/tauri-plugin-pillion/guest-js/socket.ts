import type { Connection } from "./connection.js";
import type { Line } from "./line.js";
import { onAbort, sleep } from "./signals.js";

export interface SocketOptions {
  protocols?: string | string[];
  /** How binary messages arrive: `arraybuffer` by default. */
  binaryType?: BinaryType;
  /** Closes the socket, as `close` does. */
  signal?: AbortSignal;
  /** The socket is open, for the first time or again: what the backend must know of it is to be sent now. */
  onOpen?: () => void;
  onMessage?: (data: string | ArrayBuffer | Blob, event: MessageEvent) => void;
  /** The socket is closed, and is opened again unless `close` was or is called. Not called for a socket that never opened. */
  onClose?: (event: CloseEvent) => void;
  /** Called at most once, when the sidecar cannot be watched, or the path is none: nothing more comes then. */
  onError?: (error: Error) => void;
}

/** A WebSocket that is opened again whenever it closes, until `close` is called. */
export interface Socket {
  /** Whether `send` would send. */
  readonly isOpen: boolean;

  /**
   * Sends to the backend of the moment. Throws an `InvalidStateError` where there is none, and then sends nothing and
   * keeps nothing: only the caller can know what a message is worth to the next run.
   */
  send(data: string | BufferSource | Blob): void;

  /** Closes the socket for good. May be called any number of times. */
  close(code?: number, reason?: string): void;
}

/** Before a socket that closed is opened again, in milliseconds; doubled for each time in a row that it did not open. */
const PAUSE = 500;
const LONGEST_PAUSE = 30_000;

/** `Sidecar.webSocket`. */
export function webSocket(line: Line, path: string, options: SocketOptions = {}): Socket {
  const closed = new AbortController();
  let present: WebSocket | null = null;

  const close = (code?: number, reason?: string) => {
    if (closed.signal.aborted) return;
    // Before anything else, since it refuses a code that is none.
    present?.close(code, reason);
    closed.abort();
  };

  const keepOpen = async () => {
    let vain = 0;
    while (!closed.signal.aborted) {
      const connection = await line.reconnection(closed.signal);
      if (connection === null) return;
      const opened = await hold(connection);
      vain = opened ? 0 : vain + 1;
      await sleep(Math.min(PAUSE * 2 ** vain, LONGEST_PAUSE), closed.signal, connection.gone);
    }
  };

  /** One socket, from beginning to end. Answers whether it was ever open. */
  const hold = (connection: Connection) =>
    new Promise<boolean>((resolve) => {
      const socket = connection.webSocket(path, options.protocols);
      let opened = false;
      socket.binaryType = options.binaryType ?? "arraybuffer";
      present = socket;
      const deaf = onAbort([closed.signal, connection.gone], () => socket.close());
      socket.addEventListener("open", () => {
        opened = true;
        options.onOpen?.();
      });
      socket.addEventListener("message", (event) => {
        if (!closed.signal.aborted) options.onMessage?.(event.data, event);
      });
      socket.addEventListener("close", (event) => {
        deaf();
        present = null;
        // First, so that an exception in the callback does not keep the socket closed.
        resolve(opened);
        if (opened) options.onClose?.(event);
      });
    });

  const deaf = onAbort([options.signal], () => close());
  keepOpen()
    .catch((error: Error) => options.onError?.(error))
    .finally(deaf);

  return {
    get isOpen() {
      return present?.readyState === WebSocket.OPEN;
    },
    send(data) {
      if (present?.readyState !== WebSocket.OPEN) {
        throw new DOMException(`not connected to ${line.sidecar}: nothing was sent`, "InvalidStateError");
      }
      present.send(data);
    },
    close,
  };
}
