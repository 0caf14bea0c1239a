// Times each way to the sidecar by turns, and posts the milliseconds for each request, round by round, to crates/bench.

import { Channel, convertFileSrc, invoke } from "@tauri-apps/api/core";
import { fetch as pluginFetch } from "@tauri-apps/plugin-http";
import { sidecar } from "../../../crates/tauri-plugin-pillion/guest-js/index.ts";

const collector = "http://127.0.0.1:17391";

const port = sidecar("port");
const socket = sidecar("socket");

/** Asked for once, as by the client. */
let access;

/** Each takes a path and answers a `Response`; the last two send no bodies. */
const routes = {
  direct: (path, init) => port.fetch(path, { ...init, cache: "no-store" }),
  socket: (path, init) => socket.fetch(path, init),
  // With the token, which only the page's own client is meant to have, so that all of them are asked the same.
  plugin: async (path, init) => {
    access ??= await invoke("plugin:pillion|connect", { sidecar: "port" });
    const { url, token } = access;
    return pluginFetch(url + path, { ...init, headers: { authorization: `Bearer ${token}` } });
  },
  push: async (path) => {
    const channel = new Channel();
    const body = new ReadableStream({
      start(controller) {
        channel.onmessage = (piece) =>
          piece.byteLength > 0 ? controller.enqueue(new Uint8Array(piece)) : controller.close();
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

/** What is timed: the routes that can do it, how often in a round (by the plan's `times`), and the milliseconds of one. */
const rows = {
  nothing: { by: ["socket"], often: (times) => times, time: () => span(nothing) },
  get: {
    by: Object.keys(routes),
    often: (times) => times,
    time: (route) => span(async () => is((await (await route("/pid")).text()).length > 0)),
  },
  down: {
    by: Object.keys(routes),
    often: () => 1,
    time: (route) =>
      span(async () => is((await (await route(`/bytes/${DOWN}/down`)).arrayBuffer()).byteLength === DOWN)),
  },
  up: {
    by: ["direct", "socket", "plugin"],
    often: () => 1,
    time: (route) =>
      span(async () => {
        const answer = await route("/sink", { method: "POST", body: UP });
        is((await answer.text()) === String(UP.length));
      }),
  },
  event: {
    by: ["direct", "socket", "plugin", "push"],
    often: () => 10,
    time: async (route) => {
      let reader;
      const took = await span(async () => {
        reader = (await route("/events/timed")).body.getReader();
        is((await reader.read()).value.length > 0);
      });
      await reader.cancel();
      // Nothing of that is to be in the way of the next one.
      await nothing();
      return took;
    },
  },
};

async function span(work) {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

function is(true_) {
  if (!true_) throw new Error("an answer is not what it should be");
}

async function measure({ rounds, times }) {
  const took = {};
  // The first round warms up.
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

const plan = await fetch(`${collector}/plan`);
await measure(await plan.json()).then((took) => post({ took }), fail);
