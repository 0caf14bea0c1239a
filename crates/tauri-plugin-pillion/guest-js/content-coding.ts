/** Decodes compressed bodies, as `fetch` does: https://www.rfc-editor.org/rfc/rfc9110#section-8.4. */

type Body = Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>>;

/** The codings of HTTP, by their names in the Compression Streams API. HTTP's `deflate` is the zlib format there as well. */
const FORMATS: Record<string, CompressionFormat> = {
  gzip: "gzip",
  "x-gzip": "gzip",
  deflate: "deflate",
  br: "brotli" as CompressionFormat,
  zstd: "zstd" as CompressionFormat,
};

/**
 * The body without its `contentEncoding`, which lists the codings in the order of their application. Throws a `TypeError` for a
 * coding that this webview cannot decode.
 */
export function decodeContent(body: Body, contentEncoding: string): Body {
  const codings = contentEncoding
    .split(",")
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== "" && coding !== "identity");
  const decoders = codings.reverse().map(decoder);
  if (decoders.length === 0 || (body instanceof Uint8Array && body.length === 0)) return body;
  let stream = body instanceof Uint8Array ? streamOf(body) : body;
  for (const decoder of decoders) stream = stream.pipeThrough(decoder);
  return stream;
}

function decoder(coding: string): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  const format = FORMATS[coding];
  try {
    if (format) {
      return new DecompressionStream(format) as TransformStream<
        Uint8Array<ArrayBuffer>,
        Uint8Array<ArrayBuffer>
      >;
    }
  } catch {
    // This webview does not know the format.
  }
  throw new TypeError(
    `the response has the content coding ${coding}, which this webview cannot decode; the request accepts only identity`,
  );
}

function streamOf(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
}
