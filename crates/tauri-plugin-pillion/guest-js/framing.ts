/** How a request and its answer cross the boundary in one message each: src/framing.rs is the other side. */

/** The length of the head as four bytes, big-endian, the head in JSON, and the body as it is. */
export function join(head: unknown, body: ArrayBuffer): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(head));
  const message = new Uint8Array(4 + json.length + body.byteLength);
  new DataView(message.buffer).setUint32(0, json.length);
  message.set(json, 4);
  message.set(new Uint8Array(body), 4 + json.length);
  return message;
}

/** Bytes are an array of numbers where the page's CSP keeps Tauri from sending them as they are (`ipc-protocol.js`). */
export function split<Head>(message: ArrayBuffer | number[]): { head: Head; body: Uint8Array<ArrayBuffer> } {
  const bytes = new Uint8Array(message);
  const end = 4 + new DataView(bytes.buffer).getUint32(0);
  const head = new TextDecoder().decode(bytes.subarray(4, end));
  return { head: JSON.parse(head), body: bytes.subarray(end) };
}
