/** The list of the fetch standard: https://fetch.spec.whatwg.org/#bad-port. */
// biome-ignore format: a table of numbers
const BLOCKED_BY_BROWSERS = new Set([
  1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
  111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
  540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
  6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

/** Whether browsers refuse requests to this port (`ERR_UNSAFE_PORT`), so that no page can call a server on it. */
export function isBlockedByBrowsers(port: number): boolean {
  return BLOCKED_BY_BROWSERS.has(port);
}

/** Parses a decimal port from 1 to 65535 without sign, spaces or leading zeros. */
export function parsePort(text: string): number | undefined {
  return /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65535 ? Number(text) : undefined;
}

/** The command that shows which process listens on `port`. */
export function lookupCommand(port: number): string {
  if (process.platform === "linux") return `ss -ltnp sport = :${port}`;
  if (process.platform === "win32") return `netstat -ano | findstr :${port}`;
  return `lsof -nP -iTCP:${port} -sTCP:LISTEN`;
}

/** What to do about a port that the system refuses (EACCES). Windows protects no port from users; it refuses one that another program
 * holds for itself, or that it has reserved. */
export function forbidden(port: number, platform: NodeJS.Platform): string {
  return platform === "win32"
    ? `Windows refuses port ${port}: another program holds it for itself, or it is reserved (\`netsh interface ipv4 show ` +
        "excludedportrange protocol=tcp` lists those ports); set PORT to another port, or unset it to let the system choose"
    : `the system refuses port ${port} to this user: set PORT to 1024 or above, or unset it to let the system choose`;
}
