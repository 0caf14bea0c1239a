import { createServer } from "node:http";
import express from "express";
import { attach, stopping } from "pillion";
import { WebSocketServer } from "ws";
import { version } from "./version.js";

const app = express();
app.use(express.json());
app.get("/", (_request, response) => {
  response.type("text").send("an Express backend\n");
});
app.post("/notes", (request, response) => {
  response.status(201).json(request.body);
});

const server = createServer(app);
const webSockets = new WebSocketServer({ server, path: "/echo" });
webSockets.on("connection", (client) => {
  client.on("message", (data, isBinary) => client.send(data, { binary: isBinary }));
  stopping.addEventListener("abort", () => client.close(1001));
});

await attach(server, { app: "AIOS", version });
