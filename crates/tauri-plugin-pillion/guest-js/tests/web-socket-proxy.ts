/** A fake of the app's proxy for WebSockets: it passes their messages to real servers. */
import { WebSocket } from "ws";
import { decode, encode } from "../ipc-message.js";
import { BINARY, CLOSE, decodeMessages, encodeMessages, type Message, TEXT } from "../web-socket-messages.js";
import { type Backend, deferred } from "./plugin.js";

interface Opened {
  socket: WebSocket;
  /** What the page has not read. */
  messages: Message[];
  hasEnded: boolean;
  wake(): void;
}

class FakeCloseEvent extends Event {
  constructor(type: string, fields: CloseEventInit) {
    super(type);
    Object.assign(this, fields);
  }
}

// Node 20 has none. It stays after the test, because a WebSocket may end later.
globalThis.CloseEvent ??= FakeCloseEvent as unknown as typeof CloseEvent;

type Invoke = (command: string, args: unknown) => Promise<unknown>;

/** Replaces the commands `request`, `read`, `write` and `cancel`. `connectTo` says where the sidecar's current run listens. */
export function proxyWebSockets() {
  const sockets = new Map<number, Opened>();
  let backend: Backend | null = null;
  /** The number of messages in each call of `write`, without closes. */
  const writes: number[] = [];
  const fake = {
    sockets,
    writes,
    connectTo(to: Backend) {
      backend = to;
    },
    /** What `request` rejects with. */
    refusal: null as string | null,
    /** What `read` rejects with. */
    readRefusal: null as string | null,
    /** What each `write` waits for. */
    taken: Promise.resolve(),
    /** What each `read` waits for before it returns messages. */
    readable: Promise.resolve(),
    /** What the page has cancelled. */
    cancelled: [] as number[],
  };

  const { __TAURI_INTERNALS__: internals } = window as unknown as {
    __TAURI_INTERNALS__: { invoke: Invoke };
  };
  const { invoke } = internals;
  internals.invoke = async (command, args) => {
    switch (command) {
      case "plugin:pillion|request": {
        const bytes = (args as Uint8Array<ArrayBuffer>).buffer;
        const { id, path, headers } = decode<{ id: number; path: string; headers: string[][] }>(bytes).head;
        if (fake.refusal !== null) throw fake.refusal;
        const protocols = headers.flatMap(([, value]) => value?.split(", ") ?? []);
        return open(id, new WebSocket((backend?.url ?? "").replace("http", "ws") + path, protocols));
      }
      case "plugin:pillion|read":
        return read((args as { id: number }).id);
      case "plugin:pillion|write": {
        const { head, body } = decode<{ id: number }>((args as Uint8Array<ArrayBuffer>).buffer);
        await fake.taken;
        return write(head.id, [...decodeMessages(body)]);
      }
      case "plugin:pillion|cancel": {
        const { id } = args as { id: number };
        fake.cancelled.push(id);
        const opened = sockets.get(id);
        // What the page has not read is lost.
        opened?.messages.splice(0);
        opened?.socket.terminate();
        return undefined;
      }
      default:
        return invoke(command, args);
    }
  };

  async function open(id: number, socket: WebSocket) {
    const opened: Opened = { socket, messages: [], hasEnded: false, wake: () => {} };
    sockets.set(id, opened);
    const add = (message: Message | null) => {
      if (message) opened.messages.push(message);
      else opened.hasEnded = true;
      opened.wake();
    };
    const answer = deferred<ArrayBuffer>();
    socket.on("open", () => {
      const headers = [["sec-websocket-protocol", socket.protocol]].filter(([, value]) => value);
      answer.resolve(encode({ status: 101, headers }, new Uint8Array()).buffer as ArrayBuffer);
    });
    socket.on("error", () => answer.resolve(encode({ status: 502 }, new Uint8Array()).buffer as ArrayBuffer));
    socket.on("message", (data: Buffer, isBinary) =>
      add({ opcode: isBinary ? BINARY : TEXT, payload: new Uint8Array(data) }),
    );
    socket.on("close", (code, reason) => {
      if (code === 1006) return add(null);
      const payload = code === 1005 ? [] : [code >> 8, code & 255, ...reason];
      add({ opcode: CLOSE, payload: new Uint8Array(payload) });
    });
    return answer.promise;
  }

  async function read(id: number) {
    if (fake.readRefusal !== null) throw fake.readRefusal;
    const opened = sockets.get(id);
    while (opened && opened.messages.length === 0 && !opened.hasEnded) {
      await new Promise<void>((resolve) => {
        opened.wake = resolve;
      });
    }
    await fake.readable;
    if (!opened || opened.messages.length === 0) throw "the WebSocket has closed";
    return encodeMessages(opened.messages.splice(0)).buffer;
  }

  function write(id: number, messages: Message[]) {
    writes.push(messages.filter(({ opcode }) => opcode !== CLOSE).length);
    const socket = sockets.get(id)?.socket;
    if (socket?.readyState !== WebSocket.OPEN) return false;
    for (const { opcode, payload } of messages) {
      const text = (from: number) =>
        new TextDecoder("utf-8", { ignoreBOM: true }).decode(payload.subarray(from));
      if (opcode === TEXT) socket.send(text(0));
      else if (opcode === BINARY) socket.send(payload);
      else if (payload.length === 0) socket.close();
      else socket.close(new DataView(payload.buffer, payload.byteOffset).getUint16(0), text(2));
    }
    return true;
  }

  return fake;
}
