/** The app's only door to Tauri: whatever needs the shell asks for it here, and tests hand in another `Host`. */
import { isTauri } from "@tauri-apps/api/core";
import type { Endpoint, RequestOptions, Status } from "tauri-plugin-pillion-api";
import { sidecar } from "tauri-plugin-pillion-api";

export {
  type Exit,
  type Failure,
  type FailureKind,
  type RequestOptions,
  SidecarError,
  type Status,
} from "tauri-plugin-pillion-api";

/** What the app asks of the shell it runs in. Every rejection is an `Error`: a `SidecarError` if it is about the backend. */
export interface Host {
  /** `fetch` for a path of the backend: waits for it, follows its restarts, and repeats what may be repeated. */
  fetch(path: string, init?: RequestOptions): Promise<Response>;

  /** Asks for what the first `fetch` needs, so that it need not wait for that. */
  preconnect(): void;

  /** Starts the backend again, whatever state it is in, and waits until it is ready. */
  restart(): Promise<Endpoint>;

  /** Reports the backend's present state and every later one; the function returned ends it. */
  watch(onStatus: (status: Status) => void, onError: (error: Error) => void): () => void;
}

const app: Host = sidecar("backend");

const outside = new Error(
  "This page is open outside the AIOS app, so there is no backend beside it. Start the app instead.",
);

/** A plain browser, as when Vite's address is opened by hand: every request fails in words rather than in a TypeError. */
const browser: Host = {
  fetch: () => Promise.reject(outside),
  preconnect: () => {},
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
