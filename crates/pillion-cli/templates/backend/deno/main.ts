import { serve } from "pillion";

function answer(request: Request): Response {
  const { pathname } = new URL(request.url);
  if (pathname === "/hello") {
    return Response.json({ text: "Hello from Deno" });
  }
  return new Response("not found", { status: 404 });
}

await serve(answer, { version: "0.1.0" });
