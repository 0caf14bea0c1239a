// Added to the bench-mode page of AIOS by crates/bench: times each route to the backend, if the collector has a plan
// for it, and posts the milliseconds for each request.

const collector = "http://127.0.0.1:17391";

const post = (result) =>
  fetch(`${collector}/routes`, { method: "POST", mode: "no-cors", body: JSON.stringify(result) });

/** apps/desktop/src/bench.ts is loaded after the page's own scripts; nothing tells when it is there. */
async function routes() {
  while (!window.aiosBench) await new Promise((again) => setTimeout(again, 10));
  return window.aiosBench;
}

async function measure({ rounds, times }) {
  const { direct, plugin } = await routes();
  const took = { direct: [], plugin: [] };
  for (let round = -1; round < rounds; round++) {
    for (const [name, route] of Object.entries({ direct, plugin })) {
      const each = (await route("/health", times)) / times;
      // The first round warms up.
      if (round >= 0) took[name].push(each);
    }
  }
  return took;
}

const plan = await fetch(`${collector}/plan`);
if (plan.status === 200) {
  await post(await measure(await plan.json()).catch((error) => ({ error: String(error) })));
}
