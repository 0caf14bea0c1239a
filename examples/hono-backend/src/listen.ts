import type { ListenOptions, Server } from "node:net";

/** Where a server accepts: a port of 127.0.0.1, or the Unix domain socket that the host handed over. */
export type Place = number | "socket";

/** The first descriptor that is handed over: `sd_listen_fds(3)`. */
const HANDED_OVER = 3;

/**
 * Listens where the host does already, if it hands its listener over; else on 127.0.0.1, on the port that `PORT` names or on
 * one that the system chooses. Resolves once connections are accepted.
 */
export function listen(server: Server, env: NodeJS.ProcessEnv): Promise<Place> {
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(options(env), () => {
      const bound = server.address();
      // Node knows no address of a Unix domain socket that it did not bind itself.
      if (bound === null || typeof bound === "string") return resolve("socket");
      if (bound.address === "127.0.0.1") return resolve(bound.port);
      const { address } = bound;
      reject(new Error(`the listener that LISTEN_FDS hands over is bound to ${address}, not to 127.0.0.1`));
    });
  });
}

function options(env: NodeJS.ProcessEnv): ListenOptions | { fd: number } {
  // A child inherits its parent's variables: what names another process is not meant for this one.
  if (env.LISTEN_PID === String(process.pid)) return { fd: HANDED_OVER };
  // Without a host, Node listens on every interface.
  return { host: "127.0.0.1", port: requestedPort(env.PORT) };
}

/** The port that `PORT` names, or 0, by which the system chooses one. */
function requestedPort(text: string | undefined): number {
  if (!text) return 0;
  if (/^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65535) return Number(text);
  throw new Error(
    `PORT is "${text}": set it to a number from 1 to 65535, or unset it to let the system choose`,
  );
}
