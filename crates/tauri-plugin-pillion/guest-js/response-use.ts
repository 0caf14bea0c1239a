/** Finds out when the page has received a response as a whole, so that its sidecar is not in use by it any more. */
import { withProperties } from "./response-properties.js";

/**
 * How many bytes of a body are read ahead of the page. A body that is shorter ends by itself, even if the page never reads it; the
 * rest of a longer one waits in the connection, as without this file.
 */
const READ_AHEAD = 64 * 1024;

/**
 * Returns the response, and calls `end` once, when its body has ended, broken off or been cancelled. A response without a body that
 * can be read ends at once.
 */
export function endWithBody(
  response: Response,
  end: () => void,
  signal: AbortSignal | null | undefined,
): Response {
  // The constructor of `Response` takes no other status: https://fetch.spec.whatwg.org/#dom-response.
  if (response.body === null || response.status < 200) {
    end();
    return response;
  }
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) return controller.enqueue(value);
          controller.close();
        } catch (error) {
          controller.error(error);
        }
        end();
      },
      cancel(reason) {
        end();
        return reader.cancel(reason);
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: READ_AHEAD }),
  );
  const { url, type, redirected, status, statusText, headers } = response;
  const copy = new Response(body, { status, statusText, headers });
  return withProperties(copy, { url, type, redirected, signal });
}
