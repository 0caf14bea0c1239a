import type { Detail, Failure, FailureKind, Status } from "./bindings.js";

/**
 * Why a request has no response. The kinds of `Failure`: the sidecar is down, and does not come back by itself. `starting`,
 * `restarting`, `stopping`: no run became ready within `connectTimeout`. `interrupted`: see `Interrupted`.
 */
export type ErrorKind = FailureKind | "starting" | "restarting" | "stopping" | "interrupted";

/** The fields of an error. */
interface Fields {
  kind: ErrorKind;
  message: string;
  detail: Detail;
}

/** Why a sidecar is unavailable: the kind of the failure, the exit of its process, and the last lines of its output. */
export class SidecarError extends Error {
  override readonly name: string = "SidecarError";
  readonly kind: ErrorKind;
  readonly detail: Detail;
  readonly #failure: Failure | null;

  /** `failure` is the cause of an error that is not a `Failure` itself, such as the crash behind `restarting`. */
  constructor(fields: Fields, failure: Failure | null = null, options?: ErrorOptions) {
    super(fields.message, options);
    this.kind = fields.kind;
    this.detail = fields.detail;
    this.#failure = failure;
  }

  /** The failure as a plain object, which can be stored and compared; null if the sidecar did not fail. */
  get failure(): Failure | null {
    const { kind, message, detail } = this;
    return isTemporary(kind) ? this.#failure : { kind, message, detail };
  }
}

/**
 * The run ended before it responded to a request. The request may have had its effect or not. It was not sent again, because
 * that could repeat the effect, or because it was interrupted too often.
 */
export class Interrupted extends SidecarError {
  override readonly name = "Interrupted";

  constructor(sidecar: string, failure: Failure | null, cause: unknown) {
    const message = `${sidecar} ended before it responded; the request may have taken effect or not`;
    super({ kind: "interrupted", message, detail: detailOf(sidecar, failure) }, failure, { cause });
  }
}

/** Why a sidecar cannot be called, according to its status, and whether it comes back by itself (`temporary`). */
export function unavailable(
  sidecar: string,
  status: Status | null,
): { error: SidecarError; temporary: boolean } {
  const failure = status?.failure ?? null;
  if (status?.readiness === "down") {
    return { error: new SidecarError(failure ?? stopped(status)), temporary: false };
  }
  if (status?.readiness === "up" && status.url === null) {
    const message = `${sidecar} is ready, but it has no address to send requests to`;
    return {
      error: new SidecarError({ kind: "noPort", message, detail: detailOf(sidecar, null) }),
      temporary: false,
    };
  }
  const kind = temporaryKind(status);
  const reason = failure?.message ?? status?.reason;
  const message = reason ? `${sidecar} is ${kind}: ${reason}` : `${sidecar} is ${kind}`;
  return {
    error: new SidecarError({ kind, message, detail: detailOf(sidecar, failure) }, failure),
    temporary: true,
  };
}

type TemporaryKind = "starting" | "restarting" | "stopping";

/** A table, so that the compiler reports a state that is missing. */
const temporaryKinds: Record<Status["state"], TemporaryKind> = {
  idle: "starting",
  waiting: "starting",
  starting: "starting",
  ready: "starting",
  unhealthy: "starting",
  stopping: "stopping",
  backingOff: "restarting",
  stopped: "starting",
  failed: "starting",
};

function temporaryKind(status: Status | null): TemporaryKind {
  if (status === null) return "starting";
  const kind = temporaryKinds[status.state];
  return kind === "starting" && status.restarts > 0 ? "restarting" : kind;
}

function isTemporary(kind: ErrorKind): kind is Exclude<ErrorKind, FailureKind> {
  return kind === "starting" || kind === "restarting" || kind === "stopping" || kind === "interrupted";
}

function stopped({ sidecar, reason, exit }: Status): Failure {
  const message = reason ? `${sidecar} is not running: ${reason}` : `${sidecar} is not running`;
  return { kind: "stopped", message, detail: { sidecar, exit, tail: [] } };
}

function detailOf(sidecar: string, failure: Failure | null): Detail {
  return failure?.detail ?? { sidecar, exit: null, tail: [] };
}

/** Whether a rejection is a `Failure` of the plugin. Tauri's own rejections (unknown command, not allowed) are strings. */
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

/** Converts a rejection of `invoke` to an `Error`: to a `SidecarError` if it is a `Failure`. */
export function toError(rejection: unknown): Error {
  if (rejection instanceof Error) return rejection;
  if (isFailure(rejection)) return new SidecarError(rejection);
  return new Error(typeof rejection === "string" ? rejection : JSON.stringify(rejection));
}
