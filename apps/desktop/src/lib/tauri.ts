/** The app's only door to Tauri: whatever needs the shell asks for it here, and tests hand in another `Host`. */
import { invoke, isTauri } from "@tauri-apps/api/core";
import type { Endpoint, Status } from "tauri-plugin-pillion-api";
import { sidecar, toError } from "tauri-plugin-pillion-api";

export { fetch as pluginFetch } from "@tauri-apps/plugin-http";
export {
  type Exit,
  type Failure,
  type FailureKind,
  SidecarError,
  type Status,
} from "tauri-plugin-pillion-api";

/** What the app asks of the shell it runs in. Every rejection is an `Error`: a `SidecarError` if it is about the backend. */
export interface Host {
  /** Waits until the backend is ready and answers its port. */
  backendPort(): Promise<number>;

  /** Starts the backend again, whatever state it is in, and waits until it is ready. */
  restart(): Promise<Endpoint>;

  /** Reports the backend's present state and every later one; the function returned ends it. */
  watch(onStatus: (status: Status) => void, onError: (error: Error) => void): () => void;
}

const backend = sidecar("backend");

const app: Host = {
  backendPort: () =>
    invoke<number>("get_backend_port").catch((rejection: unknown) => Promise.reject(toError(rejection))),
  restart: () => backend.restart(),
  watch: (onStatus, onError) => backend.watch(onStatus, onError),
};

const outside = new Error(
  "This page is open outside the AIOS app, so there is no backend beside it. Start the app instead.",
);

/** A plain browser, as when Vite's address is opened by hand: every request fails in words rather than in a TypeError. */
const browser: Host = {
  backendPort: () => Promise.reject(outside),
  restart: () => Promise.reject(outside),
  watch: (_, onError) => {
    onError(outside);
    return () => {};
  },
};

/** The shell that this page runs in. */
export function currentHost(): Host {
  return isTauri() ? app : browser;
}
