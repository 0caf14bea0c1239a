// The helpers of the tests in each page, besides the client `pillion` (guest-js in one script).

const sidecar = pillion.sidecar("sidecar");

/** The complete body of the answer, as text. */
const text = async (path, init) => (await sidecar.fetch(path, init)).text();

/** Whether these are the bytes that the sidecar produces. */
const isComplete = (bytes, length) => bytes.length === length && bytes.every((byte, at) => byte === at % 251);

/** Follows an event stream while the page exists. Returns a function that waits for a number of events. */
function follow(path) {
  const seen = [];
  let notify = () => {};
  (async () => {
    for await (const { event, data } of sidecar.events(path)) {
      seen.push([event, data]);
      notify();
    }
  })();
  return async (count) => {
    while (seen.length < count) {
      await new Promise((woken) => {
        notify = woken;
      });
    }
    return seen;
  };
}

/** Opens a WebSocket. Returns it, what its callbacks got, and a function that waits until an entry is there `times` times. */
function connect(path, options = {}) {
  const entries = [];
  let notify = () => {};
  const add = (entry) => {
    entries.push(entry);
    notify();
  };
  const socket = sidecar.webSocket(path, {
    onOpen: () => add("opened"),
    onMessage: add,
    onClose: ({ code, reason }) => add(`closed ${code} ${reason}`),
    onError: ({ message }) => add(`error ${message}`),
    ...options,
  });
  const until = async (isWanted, times = 1) => {
    const wanted = () => entries.filter((entry) => (isWanted.call ? isWanted(entry) : entry === isWanted));
    while (wanted().length < times) {
      await new Promise((woken) => {
        notify = woken;
      });
    }
    return wanted().at(-1);
  };
  return { socket, entries, until };
}

/**
 * Records the messages between page and app, as a script that loads before the client could: Tauri sends them by the `fetch`
 * of the window.
 */
function record() {
  const recorded = [];
  const decoder = new TextDecoder("latin1");
  const { fetch } = window;
  window.fetch = async (address, init) => {
    recorded.push(typeof init.body === "string" ? init.body : decoder.decode(init.body));
    const response = await fetch(address, init);
    recorded.push(decoder.decode(await response.clone().arrayBuffer()));
    return response;
  };
  return recorded;
}

Object.assign(window, { sidecar, text, isComplete, follow, connect, record });
