/**
 * Encodes a form with files as the platform's `fetch` does: https://html.spec.whatwg.org/#multipart-form-data. The files are parts of the
 * `Blob` and not read. WebKitGTK cannot read such a form by way of a `Request` ("Unable to read form data blob").
 */

import { isA } from "./kind.js";

/** Whether a form has a file. */
export function hasFile(form: FormData): boolean {
  let found = false;
  form.forEach((value) => {
    found ||= isA("Blob", value);
  });
  return found;
}

/** The type of the result has the boundary. */
export function encodeForm(form: FormData): Blob {
  const random = crypto.getRandomValues(new Uint8Array(16));
  // In lower case, as a `Blob` makes its type.
  const boundary = `----formdata-pillion-${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  const parts: BlobPart[] = [];
  form.forEach((value, name) => {
    parts.push(`--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(normalize(name))}"`);
    if (isA("Blob", value)) {
      const type = value.type || "application/octet-stream";
      parts.push(`; filename="${escapeName(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`, value, "\r\n");
    } else {
      parts.push(`\r\n\r\n${normalize(value)}\r\n`);
    }
  });
  parts.push(`--${boundary}--\r\n`);
  return new Blob(parts, { type: `multipart/form-data; boundary=${boundary}` });
}

function normalize(text: string): string {
  return text.replace(/\r\n?|\n/g, "\r\n");
}

function escapeName(name: string): string {
  return name.replace(/\n/g, "%0A").replace(/\r/g, "%0D").replace(/"/g, "%22");
}
