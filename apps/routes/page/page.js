// Measures the routes to the sidecar in turn, and posts the milliseconds of each request, by round, to crates/bench.

import { Channel, convertFileSrc, invoke } from "@tauri-apps/api/core";
import { fetch as pluginFetch } from "@tauri-apps/plugin-http";
import { sidecar } from "../../../crates/tauri-plugin-pillion/guest-js/index.ts";

const collector = "http://127.0.0.1:17391";

const port = sidecar("port");
const socket = sidecar("socket");

/** Requested once, as by the client. */
let access;

/** Each function takes a path and returns a `Response`; the last two send no bodies. */
const routes = {
  direct: (path, init) => port.fetch(path, { ...init, cache: "no-store" }),
  socket: (path, init) => socket.fetch(path, init),
  // With the token, which otherwise only the client uses, so that all routes send the same request.
  plugin: async (path, init) => {
    access ??= await invoke("plugin:pillion|connect", { sidecar: "port" });
    const { url, token } = access;
    return pluginFetch(url + path, { ...init, headers: { authorization: `Bearer ${token}` } });
  },
  push: async (path) => {
    const channel = new Channel();
    const body = new ReadableStream({
      start(controller) {
        channel.onmessage = (chunk) =>
          chunk.byteLength > 0 ? controller.enqueue(new Uint8Array(chunk)) : controller.close();
      },
    });
    invoke("push", { path, channel }).catch(fail);
    return new Response(body);
  },
  whole: (path) => fetch(convertFileSrc("", "whole").replace(/\/$/, "") + path, { cache: "no-store" }),
};
const nothing = () => invoke("nothing");

const DOWN = 64 * 1024 * 1024;
const UP = new Uint8Array(16 * 1024 * 1024).map((_, at) => at);

/** The measurements: the routes that support each, how often it runs in a round, and a function that returns its milliseconds. */
const rows = {
  nothing: { by: ["socket"], often: (times) => times, time: () => span(nothing) },
  get: {
    by: Object.keys(routes),
    often: (times) => times,
    time: (route) => span(async () => check((await (await route("/pid")).text()).length > 0)),
  },
  down: {
    by: Object.keys(routes),
    often: () => 1,
    time: (route) =>
      span(async () => check((await (await route(`/bytes/${DOWN}/down`)).arrayBuffer()).byteLength === DOWN)),
  },
  up: {
    by: ["direct", "socket", "plugin"],
    often: () => 1,
    time: (route) =>
      span(async () => {
        const answer = await route("/sink", { method: "POST", body: UP });
        check((await answer.text()) === String(UP.length));
      }),
  },
  event: {
    by: ["direct", "socket", "plugin", "push"],
    often: () => 10,
    time: async (route) => {
      let reader;
      const took = await span(async () => {
        reader = (await route("/events/timed")).body.getReader();
        check((await reader.read()).value.length > 0);
      });
      await reader.cancel();
      // Waits until the app has handled the cancellation, so that it does not disturb the next measurement.
      await nothing();
      return took;
    },
  },
};

/** Milliseconds for a body, which is not kept: 1 GB has no place in a page. */
const download = (route, size) =>
  span(async () => {
    const reader = (await route(`/bytes/${size}/curve`)).body.getReader();
    let length = 0;
    for (let read = await reader.read(); !read.done; read = await reader.read()) length += read.value.length;
    check(length === size);
  });

const upload = (route, body) =>
  span(async () => {
    const answer = await route("/sink", { method: "POST", body });
    check((await answer.text()) === String(body.length));
  });

/** The cost as a function of the size of a body, by the routes of the client and by plugin-http. */
async function measureCurves({ rounds, downloads, uploads }) {
  const took = {};
  const note = (row, name, value) => {
    took[row] ??= {};
    took[row][name] ??= [];
    took[row][name].push(value);
  };
  const often = (size) => (size < 1_000_000 ? 20 : 1);
  for (let round = -1; round < rounds; round++) {
    for (const size of downloads) {
      for (const name of ["direct", "socket", "plugin"]) {
        const value = await average(often(size), () => download(routes[name], size));
        if (round >= 0) note(`down-${size}`, name, value);
      }
    }
    for (const size of uploads) {
      const body = new Uint8Array(size).map((_, at) => at);
      for (const name of ["direct", "socket"]) {
        const value = await average(often(size), () => upload(routes[name], body));
        if (round >= 0) note(`up-${size}`, name, value);
      }
    }
  }
  return took;
}

/** Opens event streams at once. `emit` emits an event, and returns what it took until all have it. */
async function openStreams(route, count) {
  const controller = new AbortController();
  let missing = 0;
  let received;
  const waiting = { response: count, "first event": count };
  const follow = async (_, number) => {
    const { body } = await route(`/events/curve-${number}`, { signal: controller.signal });
    waiting.response--;
    const reader = body.getReader();
    const { done } = await reader.read();
    waiting["first event"]--;
    check(!done);
    return reader;
  };
  let readers;
  const opened = await span(async () => {
    const all = Promise.all(Array.from({ length: count }, follow));
    readers = await within(all, () => `${count} streams opened at once: without ${JSON.stringify(waiting)}`);
  });
  const read = async (reader) => {
    // A chunk may hold a part of an event, which ends with an empty line.
    for (let last = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      const text = last + new TextDecoder().decode(value);
      last = text.at(-1);
      missing -= text.split("\n\n").length - 1;
      if (missing <= 0) received();
    }
  };
  for (const reader of readers) read(reader).catch((error) => controller.signal.aborted || fail(error));
  const emit = () =>
    span(async () => {
      missing = count;
      const all = new Promise((resolve) => {
        received = resolve;
      });
      const emitted = route("/emit/1", { method: "POST", body: "event" }).then((answer) => answer.text());
      const told = await within(emitted, () => `the answer to an event for ${count} streams`);
      check(told === String(count));
      await within(all, () => `an event to ${count} streams: ${missing} have not received it`);
    });
  return { opened, emit, end: () => controller.abort() };
}

/**
 * The cost as a function of the number of open event streams, through the app. Not by direct fetch: a webview opens six connections to a
 * port, and WebKit stops to send requests there after some streams were aborted (docs/page.md).
 */
async function measureStreams({ rounds, streams }) {
  const took = {};
  const note = (row, name, value) => {
    took[row] ??= {};
    took[row][name] ??= [];
    took[row][name].push(value);
  };
  const gone = async (route, count) => {
    for (let number = 0; number < count; number++) {
      const answer = route(`/dropped/curve-${number}`).then((answer) => answer.text());
      await within(answer, () => `the sidecar's answer that stream ${number} of ${count} is closed`);
    }
  };
  for (let round = -1; round < rounds; round++) {
    for (const count of streams) {
      const { opened, emit, end } = await openStreams(routes.socket, count);
      const event = await average(10, emit);
      const get = await average(50, () =>
        within(rows.get.time(routes.socket), () => `a GET beside ${count} streams`),
      );
      end();
      // Until the sidecar knows of it, so that it does not disturb the next measurement.
      await gone(routes.socket, count);
      if (round < 0) continue;
      note(`open-${count}`, "socket", opened);
      note(`event-${count}`, "socket", event);
      note(`get-${count}`, "socket", get);
    }
  }
  return took;
}

const average = async (times, measure) => {
  let sum = 0;
  for (let done = 0; done < times; done++) sum += await measure();
  return sum / times;
};

async function span(work) {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

/** Settles as the promise does, or rejects after a minute and tells what was missing: no step takes seconds. */
const within = (promise, missing) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`a minute without ${missing()}`)), 60_000);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });

function check(condition) {
  if (!condition) throw new Error("a response is wrong");
}

async function measure({ rounds, times }) {
  const took = {};
  // The first round is a warm-up.
  for (let round = -1; round < rounds; round++) {
    for (const [row, { by, often, time }] of Object.entries(rows)) {
      for (const name of by) {
        let sum = 0;
        for (let done = 0; done < often(times); done++) sum += await time(routes[name]);
        took[row] ??= {};
        took[row][name] ??= [];
        if (round >= 0) took[row][name].push(sum / often(times));
      }
    }
  }
  return took;
}

const post = (result) =>
  fetch(`${collector}/routes`, { method: "POST", mode: "no-cors", body: JSON.stringify(result) });

const fail = (error) => post({ error: String(error) });

/** One of several windows: its first answer, or that it could ask. */
async function measureWindow({ asks }) {
  if (asks) check((await (await routes.socket("/pid")).text()).length > 0);
  const body = JSON.stringify({ steps: { asked: performance.timeOrigin + performance.now() } });
  await fetch(`${collector}/mark`, { method: "POST", mode: "no-cors", body });
}

function measurementOf(plan) {
  if ("downloads" in plan) return measureCurves;
  return "streams" in plan ? measureStreams : measure;
}

const plan = await (await fetch(`${collector}/plan`)).json();
if ("asks" in plan) await measureWindow(plan).catch(fail);
else await measurementOf(plan)(plan).then((took) => post({ took }), fail);
