import type { Detail, Failure, FailureKind, Status } from "./bindings.js";

/**
 * Why there is no answer. The kinds of `Failure`: the sidecar is down, and does not come back by itself.
 * `starting`, `restarting`, `stopping`: it is not there now, and whoever asked did not want to wait longer.
 * `interrupted`: see `Interrupted`.
 */
export type ErrorKind = FailureKind | "starting" | "restarting" | "stopping" | "interrupted";

interface Facts {
  kind: ErrorKind;
  message: string;
  detail: Detail;
}

/** Why a sidecar is not there: what went wrong, its exit, and the last lines that it wrote. */
export class SidecarError extends Error {
  override readonly name: string = "SidecarError";
  readonly kind: ErrorKind;
  readonly detail: Detail;
  readonly #cause: Failure | null;

  /** `failure` is what is behind an error that is not itself a `Failure`, as the crash behind `restarting`. */
  constructor(facts: Facts, failure: Failure | null = null, options?: ErrorOptions) {
    super(facts.message, options);
    this.kind = facts.kind;
    this.detail = facts.detail;
    this.#cause = failure;
  }

  /** The plain value that Rust sent, for state that is stored or compared; null where it sent none. */
  get failure(): Failure | null {
    const { kind, message, detail } = this;
    return isPassing(kind) ? this.#cause : { kind, message, detail };
  }
}

/**
 * A request that was sent, and whose backend went away before it answered: it may have been done or not. It was not
 * sent again, because doing it twice may differ from doing it once, or because it was interrupted too often.
 */
export class Interrupted extends SidecarError {
  override readonly name = "Interrupted";

  constructor(sidecar: string, failure: Failure | null, cause: unknown) {
    const message = `${sidecar} went away before it answered; the request may have been done or not`;
    super({ kind: "interrupted", message, detail: detailOf(sidecar, failure) }, failure, { cause });
  }
}

/** What a state says of a sidecar that has no address: why, and whether waiting helps. */
export function absence(sidecar: string, status: Status | null): { error: SidecarError; passing: boolean } {
  const failure = status?.failure ?? null;
  const kind = kindOf(status);
  if (status && !isPassing(kind))
    return { error: new SidecarError(failure ?? stopped(status)), passing: false };
  const why = failure?.message ?? status?.reason;
  const message = why ? `${sidecar} is ${kind}: ${why}` : `${sidecar} is ${kind}`;
  return {
    error: new SidecarError({ kind, message, detail: detailOf(sidecar, failure) }, failure),
    passing: true,
  };
}

function kindOf(status: Status | null): ErrorKind {
  switch (status?.state) {
    case "stopped":
      return "stopped";
    case "failed":
      return status.failure?.kind ?? "stopped";
    case "stopping":
      return "stopping";
    case "backingOff":
      return "restarting";
    case "waiting":
      // With a failure it waits for something that will not come: `ready` is refused then, and so is a request.
      if (status.failure) return status.failure.kind;
      return status.restarts > 0 ? "restarting" : "starting";
    case "starting":
      return status.restarts > 0 ? "restarting" : "starting";
    case "ready":
    case "unhealthy":
    case undefined:
      return "starting";
  }
}

function isPassing(kind: ErrorKind): kind is Exclude<ErrorKind, FailureKind> {
  return kind === "starting" || kind === "restarting" || kind === "stopping" || kind === "interrupted";
}

function stopped({ sidecar, reason, exit }: Status): Failure {
  const message = reason ? `${sidecar} is not running: ${reason}` : `${sidecar} is not running`;
  return { kind: "stopped", message, detail: { sidecar, exit, tail: [] } };
}

function detailOf(sidecar: string, failure: Failure | null): Detail {
  return failure?.detail ?? { sidecar, exit: null, tail: [] };
}

/** True for a rejection that the plugin itself made; Tauri's own (no such command, not allowed) are strings. */
export function isFailure(value: unknown): value is Failure {
  if (typeof value !== "object" || value === null) return false;
  const { kind, message, detail } = value as Partial<Record<keyof Failure, unknown>>;
  return (
    typeof kind === "string" &&
    typeof message === "string" &&
    typeof detail === "object" &&
    detail !== null &&
    Array.isArray((detail as Partial<Detail>).tail)
  );
}

/** Makes an `Error` of whatever an `invoke` rejected with: a `SidecarError` where it was a `Failure`. */
export function toError(rejection: unknown): Error {
  if (rejection instanceof Error) return rejection;
  if (isFailure(rejection)) return new SidecarError(rejection);
  return new Error(typeof rejection === "string" ? rejection : JSON.stringify(rejection));
}
