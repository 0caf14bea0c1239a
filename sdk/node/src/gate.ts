/** The gate in front of a `node:http` server: every request passes admission before any listener of the server sees it. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type Admission, type Decision, HEALTH_PATH, hideToken, originForm } from "./admission.js";
import { type Answer, allowReading, answerTo, asBytes, beforeHead, json } from "./answers.js";
import type { Connections } from "./connections.js";
import { log } from "./listen.js";
import { chooseSubprotocol } from "./websocket.js";

/** What the gate needs to know. `admission` is undefined until the server listens: until then no request passes. */
export interface GateState {
  admission: Admission | undefined;
  stopping: boolean;
  readonly health: () => string;
}

type Emit = (event: string, ...args: unknown[]) => boolean;

/**
 * Puts the gate in front of `server`. It replaces `emit`, because listeners that are added later, and those of `upgrade`, must
 * not see a request before it has passed, and because Node answers `Expect` itself if these events have no listener.
 */
export function guard(server: Server, connections: Connections, state: GateState): void {
  const emit: Emit = server.emit.bind(server);
  // Otherwise Node answers these requests before admission.
  for (const event of ["checkContinue", "checkExpectation", "connect"]) server.on(event, () => {});
  const hasOwn = (event: string) => server.listenerCount(event) > 1;
  (server as { requireHostHeader?: boolean }).requireHostHeader = false;
  // A truncated list could hide a second Host or Origin. `maxHeaderSize` limits the head.
  server.maxHeadersCount = 0;
  // Otherwise a client that closes its side after its request loses the answer.
  (server as { httpAllowHalfOpen?: boolean }).httpAllowHalfOpen = true;

  /** A server without a handler would let each request wait for ever: `createServer(app)` takes an app that is no function, such as
   * that of Koa, for options. The listener may be added after `attach`, so that only a request can tell. */
  const handle = (event: string, request: IncomingMessage, response: ServerResponse): boolean => {
    if (emit(event, request, response)) return true;
    log(
      "a request got 500, because the server has no handler: give createServer a function (Koa: app.callback())",
    );
    send(response, { status: 500, headers: {}, body: "" }, false);
    return true;
  };

  const onRequest = (event: string, request: IncomingMessage, response: ServerResponse): boolean => {
    const { socket } = request;
    if (connections.isRefused(socket)) {
      request.resume();
      return true;
    }
    connections.start(socket, request, response);
    const decision = decide(state, request);
    if (decision.kind !== "serve") {
      if (decision.kind !== "refuse" || decision.status === 401) prepare(response, decision.origin, state);
      const closes = decision.kind === "refuse" && connections.refuse(socket);
      send(response, answerTo(decision, request.rawHeaders), closes);
      return true;
    }
    connections.authorize(socket);
    let continued = event !== "checkContinue";
    prepare(response, decision.origin, state, () => continued);
    const isHealth = decision.path === HEALTH_PATH && ["GET", "HEAD"].includes(request.method ?? "");
    if (isHealth) {
      send(response, json(state.health()), false);
      return true;
    }
    hide(request, state);
    if (event === "checkExpectation" && !hasOwn(event)) {
      send(response, { status: 417, headers: {}, body: "" }, false);
      return true;
    }
    if (event !== "checkContinue") return handle(event, request, response);
    const writeContinue = response.writeContinue;
    response.writeContinue = (...args) => {
      continued = true;
      writeContinue.apply(response, args);
    };
    if (hasOwn(event)) return emit(event, request, response);
    response.writeContinue();
    return handle("request", request, response);
  };

  /** For the events whose connection Node hands over: `upgrade` and `connect`. */
  const onHandedOver = (event: string, request: IncomingMessage, socket: Socket, head: Buffer): boolean => {
    if (connections.isRefused(socket)) return true;
    const decision = decide(state, request);
    const own = event === "upgrade" || hasOwn(event);
    if (decision.kind !== "serve" || !own) {
      const refused: Answer =
        decision.kind === "serve"
          ? { status: 405, headers: {}, body: "" }
          : answerTo(decision, request.rawHeaders);
      refuseRaw(socket, asBytes(withCors(refused, decision), request.method === "HEAD"));
      return true;
    }
    connections.release(socket);
    if (hide(request, state)) chooseSubprotocol(socket);
    return emit(event, request, socket, head);
  };

  /** As Node answers malformed requests, but never in the middle of another answer, and with a lingering close. */
  const onClientError = (error: NodeJS.ErrnoException, socket: Socket): boolean => {
    if (emit("clientError", error, socket) || connections.isRefused(socket)) return true;
    if (!socket.writable || error.code === "ECONNRESET" || connections.isBusy(socket)) {
      socket.destroy();
      return true;
    }
    connections.refuse(socket);
    refuseRaw(socket, asBytes({ status: statusOf(error), headers: {}, body: "" }, false));
    return true;
  };

  server.on("connection", (socket: Socket) => connections.add(socket));
  server.emit = ((event: string, ...args: unknown[]) => {
    switch (event) {
      case "request":
      case "checkContinue":
      case "checkExpectation":
        return onRequest(event, ...(args as [IncomingMessage, ServerResponse]));
      case "upgrade":
      case "connect":
        return onHandedOver(event, ...(args as [IncomingMessage, Socket, Buffer]));
      case "clientError":
        return onClientError(...(args as [NodeJS.ErrnoException, Socket]));
      default:
        return emit(event, ...args);
    }
  }) as typeof server.emit;
}

function decide({ admission }: GateState, request: IncomingMessage): Decision {
  const { method = "", url = "", rawHeaders } = request;
  if (admission === undefined) {
    return { kind: "refuse", status: 403, text: "this server does not serve yet\n", origin: undefined };
  }
  return admission.decide({ method, target: url, rawHeaders });
}

/** Adds what every answer needs, at the last moment, so that handlers cannot replace it by accident. */
function prepare(
  response: ServerResponse,
  origin: string | undefined,
  state: GateState,
  continued: () => boolean = () => true,
): void {
  beforeHead(response, () => {
    allowReading(response, origin);
    // A client that waits for 100 may or may not send its body after this answer (RFC 9110, section 10.1.1).
    if (state.stopping || !continued()) response.setHeader("Connection", "close");
  });
}

function send(response: ServerResponse, { status, headers, body }: Answer, closes: boolean): void {
  const length = status === 204 ? {} : { "Content-Length": Buffer.byteLength(body) };
  response.writeHead(status, { ...headers, ...length, ...(closes ? { Connection: "close" } : {}) });
  response.end(body);
}

/** Hides the token from handlers, and gives them the target in origin form. Returns whether the answer has to choose the
 * subprotocol if the handler chooses none. */
function hide(request: IncomingMessage, { admission }: GateState): boolean {
  const { rawHeaders, choose } = hideToken(request.rawHeaders, admission?.isPrivate ?? true);
  // Node computes both from the raw headers and from their former number, on first use.
  const { headers, headersDistinct } = request;
  request.rawHeaders.splice(0, request.rawHeaders.length, ...rawHeaders);
  for (const name of ["authorization", "proxy-authorization", "sec-websocket-protocol"]) {
    const at = rawHeaders.findIndex((other, index) => index % 2 === 0 && other.toLowerCase() === name);
    const value = at < 0 ? undefined : rawHeaders[at + 1];
    if (value === undefined) {
      delete headers[name];
      delete headersDistinct[name];
    } else {
      headers[name] = value;
      headersDistinct[name] = [value];
    }
  }
  request.url = originForm(request.url ?? "");
  return choose;
}

function withCors(answer: Answer, decision: Decision): Answer {
  if (decision.origin === undefined) return answer;
  const cors = { "Access-Control-Allow-Origin": decision.origin, Vary: "Origin" };
  return { ...answer, headers: { ...answer.headers, ...cors } };
}

/** Writes a whole answer and closes the connection. */
function refuseRaw(socket: Socket, answer: string): void {
  socket.on("error", () => {});
  socket.write(answer);
  socket.resume();
  socket.destroySoon();
}

function statusOf({ code }: NodeJS.ErrnoException): number {
  if (code === "HPE_HEADER_OVERFLOW") return 431;
  if (code === "HPE_CHUNK_EXTENSIONS_OVERFLOW") return 413;
  return code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
}
