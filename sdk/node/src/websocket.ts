/** The subprotocol of a WebSocket: a browser fails a connection whose server chooses none of those that the page offered. */
import type { Socket } from "node:net";
import { SUBPROTOCOL } from "./admission.js";

/** A head beyond this length is not an answer to a WebSocket handshake. */
const MAX_HEAD = 64 * 1024;

/**
 * Adds `Sec-WebSocket-Protocol: pillion` to the 101 of the handler, unless the handler chooses a subprotocol. Handlers, such as
 * those of `ws`, write the head of their answer to the socket themselves.
 */
export function chooseSubprotocol(socket: Socket): void {
  const write = socket.write;
  let head: Buffer = Buffer.alloc(0);
  const replaced = (chunk: unknown, ...rest: unknown[]): boolean => {
    const [encoding] = rest;
    const bytes =
      typeof chunk === "string"
        ? Buffer.from(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8")
        : Buffer.from(chunk as Uint8Array);
    head = Buffer.concat([head, bytes]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0 && head.length < MAX_HEAD) {
      // The caller waits for its callback, and the bytes wait for the end of the head.
      const done = rest.find((argument) => typeof argument === "function");
      if (done !== undefined) process.nextTick(done as () => void);
      return true;
    }
    socket.write = write;
    const answer = end < 0 ? head : withSubprotocol(head, end);
    return (write as (bytes: Buffer, ...rest: unknown[]) => boolean).call(
      socket,
      answer,
      ...rest.filter((argument) => typeof argument === "function"),
    );
  };
  socket.write = replaced as typeof write;
}

/** The answer whose head ends at `end`, with the subprotocol if it is a 101 without one. */
export function withSubprotocol(answer: Buffer, end: number): Buffer {
  const head = answer.toString("latin1", 0, end);
  if (!/^HTTP\/1\.1 101[ \r]/.test(head) || /\r\nsec-websocket-protocol[ \t]*:/i.test(head)) return answer;
  const added = `${head}\r\nSec-WebSocket-Protocol: ${SUBPROTOCOL}`;
  return Buffer.concat([Buffer.from(added, "latin1"), answer.subarray(end)]);
}
