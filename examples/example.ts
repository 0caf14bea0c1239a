/** Starts an example's server by hand, and stands for the plugin, so that a page's client calls it. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Sidecar, sidecar } from "tauri-plugin-pillion-api";
import { onTestFinished } from "vitest";
import { fakePlugin } from "../crates/tauri-plugin-pillion/guest-js/tests/plugin.js";

/** Starts a server in this folder, and returns a handle to it. The server ends with the test. */
export async function startExample(program: string, args: string[], env = {}): Promise<Sidecar> {
  const cwd = fileURLToPath(new URL(".", import.meta.url));
  const variables = Object.entries(process.env).filter(([name]) => !/^(PORT$|PILLION_)/.test(name));
  const server = spawn(program, args, {
    cwd,
    env: { ...Object.fromEntries(variables), ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void server.kill("SIGKILL"));
  const port = await new Promise<number>((resolve, reject) => {
    server.on("error", reject);
    server.on("exit", (code) =>
      reject(new Error(`${program} exited with ${code} before it announced a port`)),
    );
    createInterface(server.stdout).on("line", (line) => {
      const announced = /^BACKEND_PORT:(\d+)$/.exec(line)?.[1];
      if (announced !== undefined) resolve(Number(announced));
    });
  });
  const plugin = fakePlugin();
  const handle = sidecar(plugin.name);
  handle.preconnect();
  plugin.sendStatus("ready", { port, url: `http://127.0.0.1:${port}`, pid: server.pid ?? null });
  return handle;
}
