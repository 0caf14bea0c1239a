/** Rule 6 of docs/protocol.md: programs that the sidecar starts must not hold the listener. */
import { log } from "./listen.js";

/** What is used of Deno's own interface, <https://docs.deno.com/api/deno/>. */
interface Deno {
  readonly build: { readonly os: string };
  readonly permissions: { querySync(descriptor: { name: "ffi" }): { readonly state: string } };
  dlopen(
    file: string,
    symbols: { ioctl: { parameters: ["i32", "u64"]; result: "i32" } },
  ): { readonly symbols: { ioctl(descriptor: number, request: bigint): number }; close(): void };
}

/**
 * The C library of each system, and its FIOCLEX, which sets FD_CLOEXEC, see `ioctl(2)`. `fcntl` takes the flag as a variadic
 * argument, which Apple's processors pass in another place than a declared one.
 */
const SYSTEMS: Readonly<Record<string, readonly [file: string, request: bigint]>> = {
  linux: ["libc.so.6", 0x5451n],
  darwin: ["libSystem.dylib", 0x2000_6601n],
};

/**
 * Marks an inherited descriptor as close-on-exec. Node and Bun do that themselves when they listen on it. Deno 2.9 does not, and
 * only its foreign function interface can, which needs `--allow-ffi`.
 */
export function closeOnExec(descriptor: number): void {
  const { Deno } = globalThis as { Deno?: Deno };
  if (process.versions.deno === undefined || Deno === undefined) return;
  try {
    const system = SYSTEMS[Deno.build.os];
    // A query, because a call without the permission may ask the user on a terminal.
    if (system === undefined || Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
      throw new Error("Deno needs the permission --allow-ffi");
    }
    const library = Deno.dlopen(system[0], { ioctl: { parameters: ["i32", "u64"], result: "i32" } });
    const result = library.symbols.ioctl(descriptor, system[1]);
    library.close();
    if (result !== 0) throw new Error("ioctl failed");
  } catch (error) {
    const { message } = error as Error;
    log(
      `programs that this server starts will hold its listener, perhaps longer than the server runs: ${message}`,
    );
  }
}
