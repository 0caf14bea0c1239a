/** Subresource integrity for proxied responses: https://www.w3.org/TR/SRI/#the-integrity-attribute. */
import { withProperties } from "./response-properties.js";

/** The hash functions, weakest first. */
const ALGORITHMS = ["sha256", "sha384", "sha512"];

/**
 * Reads the whole body, and resolves with a response of the same content if it matches the strongest digests of `metadata`. Rejects
 * with a `TypeError` if it does not, as `fetch` does. Metadata without a known hash function matches every body.
 */
export async function checkIntegrity(response: Response, metadata: string): Promise<Response> {
  const digests = strongest(metadata);
  if (digests.length === 0) return response;
  if (!globalThis.crypto?.subtle) {
    throw new TypeError("this page cannot check the integrity of a response: it is not a secure context");
  }
  const body = await response.arrayBuffer();
  for (const { algorithm, digest } of digests) {
    const hash = await crypto.subtle.digest(algorithm.replace("sha", "SHA-"), body);
    if (toBase64(hash) === digest) {
      const { status, statusText, headers, url, redirected } = response;
      const copy = new Response(response.body === null ? null : body, { status, statusText, headers });
      return withProperties(copy, { url, redirected });
    }
  }
  throw new TypeError(
    `the response of ${response.url} does not match the integrity ${JSON.stringify(metadata)}`,
  );
}

function strongest(metadata: string): { algorithm: string; digest: string }[] {
  const digests = metadata.split(/\s+/).flatMap((part) => {
    const [, algorithm, digest] = /^(sha256|sha384|sha512)-([A-Za-z0-9+/_-]+={0,2})(\?.*)?$/.exec(part) ?? [];
    if (algorithm === undefined || digest === undefined) return [];
    return [{ algorithm, digest: digest.replaceAll("-", "+").replaceAll("_", "/") }];
  });
  const strength = ({ algorithm }: { algorithm: string }) => ALGORITHMS.indexOf(algorithm);
  const best = Math.max(...digests.map(strength));
  return digests.filter((digest) => strength(digest) === best);
}

function toBase64(bytes: ArrayBuffer): string {
  return btoa(String.fromCharCode(...new Uint8Array(bytes)));
}
