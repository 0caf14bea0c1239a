// A page without a bundler imports no npm package: `app.withGlobalTauri` in tauri.conf.json gives it this object.
const backend = window.__TAURI__.pillion.sidecar("backend");

const state = document.querySelector("#backend-state");
const answer = document.querySelector("#backend-answer");

backend.watch((status) => {
  state.textContent = status.state;
  state.style.color = status.state === "ready" ? "#177245" : "#96600a";
});

try {
  // Waits until the backend is ready.
  const response = await backend.fetch("/hello");
  answer.textContent = (await response.json()).text;
} catch (error) {
  answer.textContent = String(error);
}
