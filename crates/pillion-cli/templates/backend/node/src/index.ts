import { serve } from "pillion";

function answer(request: Request): Response {
  const { pathname } = new URL(request.url);
  if (pathname === "/hello") {
    return Response.json({ text: "Hello from Node" });
  }
  return new Response("not found", { status: 404 });
}

// Not awaited: a bundle for a single executable has no top-level await.
void serve(answer, { version: "0.1.0" });
