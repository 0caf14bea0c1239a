/** The only module that imports Tauri. Tests use another `Host`. */
import { isTauri } from "@tauri-apps/api/core";
import type { Endpoint, Status } from "tauri-plugin-pillion-api";
import { sidecar } from "tauri-plugin-pillion-api";

export {
  type Exit,
  type Failure,
  type FailureKind,
  SidecarError,
  type Status,
} from "tauri-plugin-pillion-api";

/** The functions of the desktop app that the page uses. Every rejection is an `Error`: a `SidecarError` if it is about the backend. */
export interface Host {
  /** The base of the URLs that `fetch` sends to the backend. */
  readonly baseUrl: string;

  /** `fetch` to the backend: waits for it, follows its restarts, and repeats requests that may be repeated. */
  readonly fetch: typeof fetch;

  /** Prepares the first `fetch`, so that it starts without delay. */
  preconnect(): void;

  /** Restarts the backend in any state, and waits until it is ready. */
  restart(): Promise<Endpoint>;

  /** Calls `onStatus` with the current status and each later one, until the returned function is called. */
  watch(onStatus: (status: Status) => void, onError: (error: Error) => void): () => void;
}

const app: Host = sidecar("backend");

const outside = new Error(
  "This page is open outside the AIOS app, so there is no backend beside it. Start the app instead.",
);

/** For a plain browser, where the page has no desktop app: every call fails with an explanation instead of a TypeError. */
const browser: Host = {
  baseUrl: app.baseUrl,
  fetch: () => Promise.reject(outside),
  preconnect: () => {},
  restart: () => Promise.reject(outside),
  watch: (_, onError) => {
    onError(outside);
    return () => {};
  },
};

/** The host of this page. */
export function currentHost(): Host {
  return isTauri() ? app : browser;
}
