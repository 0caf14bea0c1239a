import { serve } from "pillion";
import { app } from "./app.js";
import { version } from "./version.js";

await serve(app.fetch, { app: "AIOS", version });
