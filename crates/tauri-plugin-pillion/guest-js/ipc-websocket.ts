/** A WebSocket through the app's proxy, for a sidecar without a port, which a page cannot reach by itself. */
import { SidecarError } from "./error.js";
import { AnswerLost, call, cancel, nextId } from "./ipc.js";
import { decode, encode, type ResponseHead } from "./ipc-message.js";
import { isA } from "./kind.js";
import { BINARY, CLOSE, decodeMessages, encodeMessages, type Message, TEXT } from "./web-socket-messages.js";

/** What a `WebSocket` of the platform and an `IpcWebSocket` have in common. */
export type Socket = Pick<WebSocket, "readyState" | "binaryType" | "bufferedAmount" | "send" | "close"> & {
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
};

/** The values of `readyState`: https://websockets.spec.whatwg.org/#dom-websocket-readystate. */
const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

/** The code of a connection without a closing handshake, and that of a close without a code: RFC 6455, section 7.4.1. */
const ABNORMAL = 1006;
const NO_CODE = 1005;

/** The size from which one call takes no more messages to the app, in bytes. */
const BATCH = 1024 * 1024;
/** The maximum size of a message in bytes, as in the app. */
const MAX_MESSAGE = 64 * 1024 * 1024;
/** How long the app may take for one call after `close`, in milliseconds: a sidecar that reads nothing keeps no WebSocket. */
const CLOSE_TIMEOUT = 10_000;
/** As RFC 6455, section 5.5, limits the payload of a close, without its code. */
const MAX_REASON = 123;
/** https://www.rfc-editor.org/rfc/rfc9110#name-tokens. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

const encoder = new TextEncoder();
/** A byte order mark belongs to the message. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * The app takes messages as fast as the sidecar reads them, one call at a time; `bufferedAmount` counts those that it has not taken. This
 * object asks for messages after it has handled the last ones, so that neither page nor app collect them.
 */
export class IpcWebSocket implements Socket {
  readonly url: string;
  binaryType: BinaryType = "blob";
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  /** The app does not let this page open it. Nothing else is called then. */
  onrefused: ((error: Error) => void) | null = null;
  readonly #id = nextId();
  readonly #queue: Message<Uint8Array<ArrayBuffer> | Blob>[] = [];
  #readyState: Socket["readyState"] = CONNECTING;
  #protocol = "";
  #bufferedAmount = 0;
  #isWriting = false;
  #closeTimer: ReturnType<typeof setTimeout> | undefined;

  /** Throws a `SyntaxError` for invalid or repeated protocols, as the constructor of `WebSocket` does. */
  constructor(sidecar: string, url: URL, protocols: string[]) {
    if (protocols.some((name) => !TOKEN.test(name)) || new Set(protocols).size < protocols.length) {
      throw new DOMException(`invalid subprotocols: ${JSON.stringify(protocols)}`, "SyntaxError");
    }
    this.url = `${url.origin.replace(/^http/, "ws")}${url.pathname}${url.search}`;
    const headers = protocols.length > 0 ? [["sec-websocket-protocol", protocols.join(", ")]] : [];
    const path = url.pathname + url.search;
    const head = { id: this.#id, sidecar, method: "GET", path, headers, webSocket: true };
    void this.#run(encode(head, new ArrayBuffer(0)));
  }

  get readyState(): Socket["readyState"] {
    return this.#readyState;
  }

  /** The subprotocol that the sidecar chose. */
  get protocol(): string {
    return this.#protocol;
  }

  get bufferedAmount(): number {
    return this.#bufferedAmount;
  }

  send(data: string | BufferSource | Blob): void {
    if (this.#readyState === CONNECTING) {
      throw new DOMException("the WebSocket is not open yet", "InvalidStateError");
    }
    const message = toMessage(data);
    this.#bufferedAmount += sizeOf(message.payload);
    this.#enqueue(message);
  }

  close(code?: number, reason = ""): void {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException(`the code ${code} is neither 1000 nor in 3000 to 4999`, "InvalidAccessError");
    }
    const text = encoder.encode(reason);
    if (text.length > MAX_REASON) {
      throw new DOMException(`the reason has more than ${MAX_REASON} bytes`, "SyntaxError");
    }
    if (this.#readyState === CONNECTING) {
      this.#readyState = CLOSING;
      cancel(this.#id);
    }
    const payload = new Uint8Array(code === undefined ? 0 : 2 + text.length);
    if (code !== undefined) {
      new DataView(payload.buffer).setUint16(0, code);
      payload.set(text, 2);
    }
    this.#enqueue({ opcode: CLOSE, payload });
    if (this.#readyState !== OPEN) return;
    this.#readyState = CLOSING;
    this.#limitClose();
  }

  /** Limits the time until the app has taken the next messages, the last of which is the close. It then limits the time of the answer. */
  #limitClose(): void {
    clearTimeout(this.#closeTimer);
    if (this.#readyState !== CLOSING || this.#queue.length === 0) return;
    this.#closeTimer = setTimeout(() => cancel(this.#id), CLOSE_TIMEOUT);
  }

  #enqueue(message: Message<Uint8Array<ArrayBuffer> | Blob>): void {
    if (this.#readyState !== OPEN) return;
    this.#queue.push(message);
    void this.#write();
  }

  /** Passes the queue to the app, one call at a time, so that messages keep their order. */
  async #write(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    // One call takes all that the caller sends at a time.
    await null;
    try {
      while (this.#queue.length > 0) {
        const { batch, size } = await this.#nextBatch();
        const isOpen = await call<boolean>("write", encode({ id: this.#id }, encodeMessages(batch)));
        // The sidecar has closed it, and `read` returns what it sent before.
        if (!isOpen) this.#queue.length = 0;
        else this.#bufferedAmount -= size;
        this.#queue.splice(0, batch.length);
        this.#limitClose();
      }
    } catch (error) {
      // A message is too large, a `Blob` cannot be read, or the app refuses the call.
      if (this.#readyState !== CLOSED) console.warn(`the WebSocket ${this.url} ends:`, error);
      this.#queue.length = 0;
      cancel(this.#id);
    }
    this.#isWriting = false;
  }

  /** The messages for the next call. Those before one that cannot be sent are sent first. */
  async #nextBatch(): Promise<{ batch: Message[]; size: number }> {
    const batch: Message[] = [];
    let size = 0;
    for (const { opcode, payload } of [...this.#queue]) {
      try {
        batch.push({ opcode, payload: await toBytes(payload) });
      } catch (error) {
        if (batch.length === 0) throw error;
        break;
      }
      if (opcode !== CLOSE) size += sizeOf(payload);
      if (size >= BATCH) break;
    }
    return { batch, size };
  }

  /** Opens the WebSocket and receives messages until it has closed. */
  async #run(request: Uint8Array): Promise<void> {
    let closed: { code: number; reason: string } | null = null;
    try {
      const answer = await call<ArrayBuffer | number[]>("request", request);
      this.#open(decode<ResponseHead>(answer));
      while (!closed) closed = this.#receive(await call<ArrayBuffer | number[]>("read", { id: this.#id }));
    } catch (error) {
      // A `SidecarError` says that the sidecar is down now.
      const isTemporary = error instanceof SidecarError || error instanceof AnswerLost;
      if (this.#readyState === CONNECTING && !isTemporary) {
        this.#readyState = CLOSED;
        return this.onrefused?.(error as Error);
      }
    }
    this.#readyState = CLOSED;
    this.#queue.length = 0;
    clearTimeout(this.#closeTimer);
    // The app may have it still, if it does not let this page read.
    if (!closed) cancel(this.#id);
    if (!closed) report(() => this.onerror?.(new Event("error")));
    const { code, reason } = closed ?? { code: ABNORMAL, reason: "" };
    const event = new CloseEvent("close", { code, reason, wasClean: closed !== null });
    report(() => this.onclose?.(event));
  }

  #open({ head, body }: ReturnType<typeof decode<ResponseHead>>): void {
    if (this.#readyState !== CONNECTING) {
      // The app has handled the `cancel` before the `request`: `#run` cancels again.
      throw new Error("it is closed");
    }
    if (head.status !== 101) {
      console.warn(`the WebSocket ${this.url} did not open: ${decoder.decode(body)}`);
      this.#readyState = CLOSING;
      throw new Error("it did not open");
    }
    this.#protocol = new Headers(head.headers).get("sec-websocket-protocol") ?? "";
    this.#readyState = OPEN;
    report(() => this.onopen?.(new Event("open")));
  }

  /** Handles messages. Returns the last one, if it is a close. */
  #receive(batch: ArrayBuffer | number[]): { code: number; reason: string } | null {
    for (const { opcode, payload } of decodeMessages(new Uint8Array(batch))) {
      if (opcode === CLOSE) {
        if (payload.length === 0) return { code: NO_CODE, reason: "" };
        const code = new DataView(payload.buffer, payload.byteOffset).getUint16(0);
        return { code, reason: decoder.decode(payload.subarray(2)) };
      }
      // A message may arrive after `close`, and a handler may call it: https://websockets.spec.whatwg.org/#feedback-from-the-protocol.
      if (this.#readyState !== OPEN) continue;
      const data = opcode === TEXT ? decoder.decode(payload) : this.#binary(payload);
      report(() => this.onmessage?.(new MessageEvent("message", { data })));
    }
    return null;
  }

  #binary(payload: Uint8Array<ArrayBuffer>): Blob | ArrayBuffer {
    return this.binaryType === "blob" ? new Blob([payload]) : payload.slice().buffer;
  }
}

function toMessage(data: string | BufferSource | Blob): Message<Uint8Array<ArrayBuffer> | Blob> {
  if (isA("Blob", data)) return { opcode: BINARY, payload: data };
  // Copies, because the caller may change the bytes.
  if (ArrayBuffer.isView(data)) return { opcode: BINARY, payload: new Uint8Array(viewOf(data)) };
  if (isA("ArrayBuffer", data)) return { opcode: BINARY, payload: new Uint8Array(data.slice()) };
  // The platform's WebSocket sends everything else as a string, too.
  return { opcode: TEXT, payload: encoder.encode(String(data)) };
}

function viewOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function sizeOf(payload: Uint8Array | Blob): number {
  return isA("Blob", payload) ? payload.size : payload.length;
}

/** Rejects without reading it if the message is too large. */
async function toBytes(payload: Uint8Array<ArrayBuffer> | Blob): Promise<Uint8Array<ArrayBuffer>> {
  const size = sizeOf(payload);
  if (size > MAX_MESSAGE) {
    throw new Error(`a message of ${size} bytes was not sent: at most ${MAX_MESSAGE} are allowed`);
  }
  return isA("Blob", payload) ? new Uint8Array(await payload.arrayBuffer()) : payload;
}

/** Calls a handler. Its exception is reported as that of an event handler is, and ends nothing. */
function report(handler: () => void): void {
  try {
    handler();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
