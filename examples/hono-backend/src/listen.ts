import type { ListenOptions, Server } from "node:net";

/** The listen address: a port of 127.0.0.1, or the Unix domain socket that the host passed. */
export type ListenAddr = number | "local";

/** The first inherited descriptor: see `sd_listen_fds(3)`. */
const FIRST_DESCRIPTOR = 3;

/**
 * Listens on the listener that the host passed; without one, on 127.0.0.1, on the port that `PORT` names or on one that the
 * system chooses. Resolves once the server accepts connections.
 */
export function listen(server: Server, env: NodeJS.ProcessEnv): Promise<ListenAddr> {
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(options(env), () => {
      const bound = server.address();
      // Node does not know the address of a Unix domain socket that another process bound.
      if (bound === null || typeof bound === "string") return resolve("local");
      if (bound.address === "127.0.0.1") return resolve(bound.port);
      const { address } = bound;
      reject(new Error(`the listener of LISTEN_FDS is bound to ${address}: it has to be 127.0.0.1`));
    });
  });
}

function options(env: NodeJS.ProcessEnv): ListenOptions | { fd: number } {
  // A child inherits its parent's variables, so ignore a listener for another process.
  if (env.LISTEN_PID === String(process.pid)) return { fd: FIRST_DESCRIPTOR };
  // The address is necessary: by default, Node listens on every interface.
  return { host: "127.0.0.1", port: requestedPort(env.PORT) };
}

/** The port that `PORT` names, or 0: then the system chooses a port. */
function requestedPort(text: string | undefined): number {
  if (!text) return 0;
  if (/^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65535) return Number(text);
  throw new Error(
    `PORT is "${text}": set it to a number from 1 to 65535, or unset it to let the system choose`,
  );
}
