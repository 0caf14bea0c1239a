import { onAbort, sleep } from "./abort.js";
import type { ConnectionManager } from "./connection-manager.js";
import type { Socket } from "./ipc-websocket.js";
import type { RunClient } from "./run-client.js";

export interface WebSocketOptions {
  protocols?: string | string[];
  /** The type of binary messages: `arraybuffer` by default. */
  binaryType?: BinaryType;
  /** Closes the WebSocket, as `close` does. */
  signal?: AbortSignal;
  /** The WebSocket is open, for the first time or again. A new run knows nothing of earlier messages. */
  onOpen?: () => void;
  onMessage?: (data: string | ArrayBuffer | Blob, event: MessageEvent) => void;
  /** The WebSocket has closed. It opens again, unless `close` is called. Not called for one that never opened. */
  onClose?: (event: CloseEvent) => void;
  /** Called at most once, if the page may not call the sidecar, or the path is invalid. No other callback follows. */
  onError?: (error: Error) => void;
}

/** A WebSocket that opens again whenever it closes, until `close` is called. */
export interface ReconnectingWebSocket {
  /** Whether the WebSocket is open, so that `send` sends. */
  readonly isOpen: boolean;

  /**
   * Sends to the current run. Throws an `InvalidStateError` if the WebSocket is not open: messages are not queued, because only
   * the caller can know whether a message still matters to the next run.
   */
  send(data: string | BufferSource | Blob): void;

  /** Closes the WebSocket for good. May be called any number of times. */
  close(code?: number, reason?: string): void;
}

/** The delay before a closed WebSocket opens again, in milliseconds. It doubles with each attempt that does not open. */
const RECONNECT_DELAY = 500;
const MAX_RECONNECT_DELAY = 30_000;

/** See `Sidecar.webSocket`. */
export function openWebSocket(
  manager: ConnectionManager,
  path: string,
  options: WebSocketOptions = {},
): ReconnectingWebSocket {
  const closed = new AbortController();
  let current: Socket | null = null;

  const close = (code?: number, reason?: string) => {
    if (closed.signal.aborted) return;
    // This comes first, because it throws for an invalid code.
    current?.close(code, reason);
    closed.abort();
  };

  const keepOpen = async () => {
    let attempts = 0;
    while (!closed.signal.aborted) {
      const client = await manager.nextClient(closed.signal);
      if (client === null) return;
      const opened = await run(client);
      attempts = opened ? 0 : attempts + 1;
      const delay = Math.min(RECONNECT_DELAY * 2 ** attempts, MAX_RECONNECT_DELAY);
      await sleep(delay, closed.signal, client.gone);
    }
  };

  /** Opens one WebSocket, and waits until it closes. Resolves with whether it ever opened. */
  const run = (client: RunClient) =>
    new Promise<boolean>((resolve, reject) => {
      let unlisten = () => {};
      const socket = client.webSocket(path, options.protocols ?? [], (error) => {
        unlisten();
        current = null;
        reject(error);
      });
      let opened = false;
      socket.binaryType = options.binaryType ?? "arraybuffer";
      current = socket;
      unlisten = onAbort([closed.signal, client.gone], () => socket.close());
      socket.onopen = () => {
        opened = true;
        options.onOpen?.();
      };
      socket.onmessage = (event) => {
        if (!closed.signal.aborted) options.onMessage?.(event.data, event);
      };
      socket.onclose = (event) => {
        unlisten();
        current = null;
        // This comes before the callback, so that an exception there does not prevent the next attempt.
        resolve(opened);
        if (opened) options.onClose?.(event);
      };
    });

  const unlisten = onAbort([options.signal], () => close());
  const end = manager.use();
  keepOpen()
    .catch((error: Error) => options.onError?.(error))
    .finally(() => {
      unlisten();
      end();
    });

  return {
    get isOpen() {
      return current?.readyState === WebSocket.OPEN;
    },
    send(data) {
      if (current?.readyState !== WebSocket.OPEN) {
        throw new DOMException(
          `the WebSocket to ${manager.sidecar} is not open: the message was not sent`,
          "InvalidStateError",
        );
      }
      current.send(data);
    },
    close,
  };
}
