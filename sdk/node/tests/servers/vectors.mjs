// The server that docs/protocol/README.md asks for: the handler answers every path, and accepts WebSockets on `/socket`.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { attach, serve } from "../../dist/index.js";

const REACHED = { "x-handler": "reached" };

if (process.argv[2] === "fetch") {
  await serve(() => new Response("reached\n", { headers: REACHED }));
} else {
  const server = createServer((_request, response) => response.writeHead(200, REACHED).end("reached\n"));
  server.on("upgrade", (request, socket) => {
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
    const accept = createHash("sha1")
      .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest("base64");
    const lines = [
      "HTTP/1.1 101 Switching Protocols",
      "Upgrade: websocket",
      "Connection: Upgrade",
      `Sec-WebSocket-Accept: ${accept}`,
      "x-handler: reached",
      `x-subprotocols: ${offered.join(", ")}`,
      ...(offered.includes("chat") ? ["Sec-WebSocket-Protocol: chat"] : []),
    ];
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  });
  await attach(server);
}
