import { useEffect, useState } from "react";
import { sidecar } from "tauri-plugin-pillion-api";
import "./App.css";

const backend = sidecar("backend");

function App() {
  const [state, setState] = useState("–");
  const [text, setText] = useState("–");

  useEffect(() => backend.watch((status) => setState(status.state)), []);

  useEffect(() => {
    // Waits until the backend is ready.
    backend
      .fetch("/hello")
      .then((response) => response.json())
      .then((answer) => setText(answer.text))
      .catch((error) => setText(String(error)));
  }, []);

  return (
    <main className="container">
      <h1>Tauri + Pillion</h1>
      <p id="backend-state" style={{ color: state === "ready" ? "#177245" : "#96600a" }}>
        {state}
      </p>
      <p id="backend-answer">{text}</p>
    </main>
  );
}

export default App;
