// What the tests of `tests/socket` have in each page, besides `pillion`: guest-js in one script.

const sidecar = pillion.sidecar("sidecar");

/** The whole answer to a request, as text. */
const text = async (path, init) => (await sidecar.fetch(path, init)).text();

/** Whether these are the bytes that the sidecar makes. */
const isWhole = (bytes, length) => bytes.length === length && bytes.every((byte, at) => byte === at % 251);

/** Follows an event stream for as long as the page lives; answers what waits until it has brought so many events. */
function follow(path) {
  const seen = [];
  let wake = () => {};
  (async () => {
    for await (const { event, data } of sidecar.events(path)) {
      seen.push([event, data]);
      wake();
    }
  })();
  return async (count) => {
    while (seen.length < count) {
      await new Promise((woken) => {
        wake = woken;
      });
    }
    return seen;
  };
}

/**
 * Listens in on what goes between page and app, as a script that came before the client could: Tauri sends by the `fetch`
 * that it finds on the window.
 */
function listen() {
  const heard = [];
  const decoder = new TextDecoder("latin1");
  const { fetch } = window;
  window.fetch = async (address, init) => {
    heard.push(typeof init.body === "string" ? init.body : decoder.decode(init.body));
    const response = await fetch(address, init);
    heard.push(decoder.decode(await response.clone().arrayBuffer()));
    return response;
  };
  return heard;
}

Object.assign(window, { sidecar, text, isWhole, follow, listen });
