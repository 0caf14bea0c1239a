import type { Detail, Failure, FailureKind } from "./bindings.js";

/** Why a sidecar is not there: what went wrong, its exit, and the last lines that it wrote. */
export class SidecarError extends Error {
  override readonly name = "SidecarError";
  readonly kind: FailureKind;
  readonly detail: Detail;

  constructor(failure: Failure) {
    super(failure.message);
    this.kind = failure.kind;
    this.detail = failure.detail;
  }

  /** The plain value that Rust sent, for state that is stored or compared. */
  get failure(): Failure {
    return { kind: this.kind, message: this.message, detail: this.detail };
  }
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
