// The attacks of a page on another server. Each attack sends to one URL, waits until the browser has finished, and
// resolves with the part of the answer that the page could read, or with nothing. The browser itself refuses none of them.

const simple = { method: "POST", headers: { "content-type": "text/plain" }, body: '{"run":"calc"}' };

const text = async (response) => (await response).text();

/** Resolves with the element when it has loaded, or with nothing when it has failed. */
const load = (tag, attributes, event = "onload") =>
  new Promise((resolve) => {
    const element = Object.assign(document.createElement(tag), attributes);
    document.body.append(element);
    element[event] = () => resolve(element);
    element.onerror = () => resolve();
  });

/** Resolves when the browser has finished a request of which the page learns nothing else. */
const finished = (url) =>
  new Promise((resolve) => {
    const observer = new PerformanceObserver((list) => {
      if (list.getEntriesByName(url).length === 0) return;
      observer.disconnect();
      resolve();
    });
    observer.observe({ type: "resource", buffered: true });
  });

const submit = async (url, method, enctype) => {
  const frame = Object.assign(document.createElement("iframe"), { name: `frame of ${url}` });
  document.body.append(frame);
  const form = Object.assign(document.createElement("form"), { action: url, target: frame.name, method });
  form.enctype = enctype;
  form.append(Object.assign(document.createElement("input"), { name: '{"run":"calc","x":"', value: '"}' }));
  document.body.append(form);
  const loaded = new Promise((resolve) => {
    frame.onload = resolve;
  });
  form.submit();
  await loaded;
  return frame.contentDocument?.body?.textContent;
};

const connect = (socket) =>
  new Promise((resolve) => {
    socket.onmessage = socket.onopen = () => resolve("open");
    socket.onclose = () => resolve();
  });

const work = (script, message) =>
  new Promise((resolve) => {
    const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    worker.onmessage = (event) => resolve(event.data);
    worker.onerror = () => resolve();
    worker.postMessage(message);
  });

/** The URL behind a redirect of the page's own server. */
const redirected = (url, { home }, status = 302) =>
  `${home}/redirect?status=${status}&to=${encodeURIComponent(url)}`;

const webSocketUrl = (url) => url.replace("http:", "ws:");

const bearer = (token) => ({ authorization: `Bearer ${token}` });

globalThis.attacks = {
  fetch: (url) => text(fetch(url)),
  "fetch no-cors": (url) => text(fetch(url, { mode: "no-cors" })),
  "fetch credentials": (url) => text(fetch(url, { mode: "no-cors", credentials: "include" })),
  "fetch head": (url) => text(fetch(url, { method: "HEAD", mode: "no-cors" })),
  "fetch keepalive": (url) => text(fetch(url, { ...simple, mode: "no-cors", keepalive: true })),
  "fetch post": (url) => text(fetch(url, simple)),
  "fetch post no-cors": (url) => text(fetch(url, { ...simple, mode: "no-cors" })),
  "fetch put": (url) => text(fetch(url, { method: "PUT", body: "x" })),
  "fetch json": (url) => text(fetch(url, { ...simple, headers: { "content-type": "application/json" } })),
  "fetch header": (url) => text(fetch(url, { headers: { "x-custom": "x" } })),
  "fetch token": (url, { token }) => text(fetch(url, { headers: bearer(token) })),
  "fetch token in address": (url, { token }) => text(fetch(`${url}?token=${token}`, { mode: "no-cors" })),
  "fetch from worker": (url) =>
    work(
      "onmessage = (e) => fetch(e.data).then((r) => r.text()).then(postMessage, () => postMessage(null))",
      url,
    ),
  xhr: (url) =>
    new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.onloadend = () => resolve(request.responseText);
      request.open("GET", url);
      request.send();
    }),
  "form get": (url) => submit(url, "get", "application/x-www-form-urlencoded"),
  "form post": (url) => submit(url, "post", "application/x-www-form-urlencoded"),
  "form post multipart": (url) => submit(url, "post", "multipart/form-data"),
  "form post text": (url) => submit(url, "post", "text/plain"),
  image: async (src) => (await load("img", { src }))?.naturalWidth,
  script: async (src) => (await load("script", { src })) && globalThis.learned,
  module: async (src) => (await load("script", { src, type: "module" })) && globalThis.learned,
  "worker script": (url) =>
    work("onmessage = (e) => { try { importScripts(e.data); } catch {} postMessage(self.learned); }", url),
  stylesheet: async (href) =>
    (await load("link", { href, rel: "stylesheet" })) &&
    getComputedStyle(document.documentElement).getPropertyValue("--learned"),
  prefetch: async (href) => void (await load("link", { href, rel: "prefetch" })),
  iframe: async (src) => (await load("iframe", { src })).contentDocument?.body?.textContent,
  embed: async (src) => void (await Promise.all([load("embed", { src, type: "image/png" }), finished(src)])),
  video: async (src) => void (await load("video", { src }, "onloadeddata")),
  audio: async (src) => void (await load("audio", { src }, "onloadeddata")),
  beacon: async (url) => void (await Promise.all([navigator.sendBeacon(url, "x"), finished(url)])),
  "event source": (url) =>
    new Promise((resolve) => {
      const source = new EventSource(url);
      const end = (data) => resolve(data, source.close());
      source.onmessage = (event) => end(event.data);
      source.onerror = () => end();
    }),
  "web socket": (url) => connect(new WebSocket(webSocketUrl(url))),
  "web socket token": (url, { token }) =>
    connect(new WebSocket(webSocketUrl(url), ["pillion", `pillion.bearer.${token}`])),
  "redirect fetch": (url, at) => text(fetch(redirected(url, at))),
  "redirect no-cors": (url, at) => text(fetch(redirected(url, at), { mode: "no-cors" })),
  "redirect post": (url, at) => text(fetch(redirected(url, at, 307), { ...simple, mode: "no-cors" })),
  "redirect form": (url, at) => submit(redirected(url, at, 307), "post", "text/plain"),
  "redirect image": async (url, at) => (await load("img", { src: redirected(url, at) }))?.naturalWidth,
  "redirect iframe": async (url, at) =>
    (await load("iframe", { src: redirected(url, at) })).contentDocument?.body?.textContent,
};

// Only for secure contexts, such as the pages of localhost.
globalThis.attacksFromSecurePages = {
  "service worker": async (url) => {
    await navigator.serviceWorker.register("/worker.js");
    const { active } = await navigator.serviceWorker.ready;
    const { port1, port2 } = new MessageChannel();
    const answer = new Promise((resolve) => {
      port1.onmessage = (event) => resolve(event.data);
    });
    active.postMessage(url, [port2]);
    return answer;
  },
};

/** Carries out one attack. Returns the content that the page could read, and the status if the browser reveals it. */
globalThis.attack = async (name, target, at) => {
  const url = `${target}/${encodeURIComponent(name)}`;
  const run = globalThis.attacks[name] ?? globalThis.attacksFromSecurePages[name];
  const content = await run(url, at).catch(() => undefined);
  const status = performance.getEntriesByName(url).find((entry) => entry.responseStatus)?.responseStatus;
  return { content: content || null, status: status ?? null };
};
