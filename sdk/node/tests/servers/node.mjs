// A `node:http` server with `ws`, as a user of Express writes one.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { attach } from "../../dist/index.js";

const server = createServer((request, response) => {
  console.error(`handler: ${request.method} ${request.url}`);
  if (request.url === "/headers") {
    return response
      .writeHead(200, "Fine", { "X-Own": "1", Vary: "Accept" })
      .end(JSON.stringify(request.rawHeaders));
  }
  if (request.url === "/flat")
    return response.writeHead(200, ["Set-Cookie", "a=1", "Set-Cookie", "b=2"]).end();
  if (request.url === "/slow") return void request.resume().on("end", () => response.end("whole\n"));
  response.end("node\n");
});
const webSockets = new WebSocketServer({ server });
webSockets.on("connection", (client, request) => {
  console.error(`upgraded: ${request.rawHeaders.join(" ")}`);
  client.send(`protocol ${client.protocol || "none"}`);
});
await attach(server, { version: "1.2.3" });
// A listener that is added after `attach`.
server.on("request", (request) => console.error(`late: ${request.url}`));
