// A server whose author has passed an app that is no function: Node takes it for options.
import { createServer } from "node:http";
import { attach } from "../../dist/index.js";

await attach(createServer({ callback: () => undefined }));
