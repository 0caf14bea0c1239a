/**
 * Encodes head and body of a proxied request, or of its response, in one IPC message: the length of the head as four bytes,
 * big-endian; the head in JSON; the bytes of the body. src/ipc_message.rs is the other side.
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface ResponseHead {
  status: number;
  /** The reason phrase. */
  statusText: string;
  headers: [name: string, value: string][];
  /** Whether the message holds the whole body. */
  ended: boolean;
}

/** Joins head and body in one message. */
export function encode(head: unknown, body: ArrayBuffer | Uint8Array): Uint8Array {
  const json = encoder.encode(JSON.stringify(head));
  const message = new Uint8Array(4 + json.length + body.byteLength);
  new DataView(message.buffer).setUint32(0, json.length);
  message.set(json, 4);
  message.set(new Uint8Array(body), 4 + json.length);
  return message;
}

/**
 * Splits a message into head and body. The message is an array of numbers if the page's CSP keeps Tauri from sending bytes
 * (Tauri's `ipc-protocol.js`).
 */
export function decode<Head>(message: ArrayBuffer | number[]): { head: Head; body: Uint8Array<ArrayBuffer> } {
  const bytes = new Uint8Array(message);
  const end = 4 + new DataView(bytes.buffer).getUint32(0);
  const head = decoder.decode(bytes.subarray(4, end));
  return { head: JSON.parse(head), body: bytes.subarray(end) };
}
