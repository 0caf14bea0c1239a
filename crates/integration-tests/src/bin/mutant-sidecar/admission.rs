//! Which requests reach a handler, and the answers to the others (docs/protocol.md, section 5).

use crate::{Mutation, Server, connection::Answer, health};

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |header| header.0 == name).map(|header| header.1.as_str())
    }

    /// The value of a header that occurs once.
    pub(crate) fn only<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    fn elements<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values(name)
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|element| !element.is_empty())
    }
}

/// The answer to a request.
pub(crate) fn answer(server: &Server, request: &Request) -> Answer {
    let mutation = &server.mutation;
    if let Some(refusal) = refuse_host(server, request) {
        return refusal;
    }
    let origin = request.values("origin").next();
    let origin_is_allowed = origin_is_allowed(server, request);
    if !origin_is_allowed {
        let mut refusal = Answer::text(403, "not for pages of that origin");
        if mutation.is("cors-on-403") {
            refusal.add("Access-Control-Allow-Origin", origin.unwrap_or_default());
        }
        return refusal;
    }
    let allows = mutation.is("options-need-no-token") && request.method == "OPTIONS";
    let is_preflight = request.method == "OPTIONS"
        && origin.is_some()
        && request.values("access-control-request-method").next().is_some();
    let mut answer = if (is_preflight || allows) && !mutation.is("preflight-is-a-request") {
        preflight(mutation, request)
    } else {
        with_token(server, request)
    };
    if mutation.is("token-in-a-header") {
        answer.add("X-Session", server.host.token.as_deref().unwrap_or_default());
    }
    if !mutation.is("no-vary") {
        answer.add("Vary", "Origin");
    }
    if let Some(origin) = origin
        && !(mutation.is("no-cors-on-401") && answer.status == 401)
        && !mutation.is("no-cors")
    {
        answer.add("Access-Control-Allow-Origin", if mutation.is("cors-star") { "*" } else { origin });
    }
    answer
}

fn refuse_host(server: &Server, request: &Request) -> Option<Answer> {
    let mutation = &server.mutation;
    let hosts: Vec<_> = request.values("host").collect();
    let host = match hosts[..] {
        [host] => host,
        [host, ..] if mutation.is("first-of-two-hosts") => host,
        [] if mutation.is("no-host-is-403") => return Some(Answer::text(403, "no Host")),
        _ => return Some(Answer::text(400, "needs exactly one Host")),
    };
    if !request.target.starts_with('/') && request.target != "*" && !mutation.is("target-unchecked") {
        return Some(Answer::text(403, "no absolute targets"));
    }
    let is_ours = server.names.iter().any(|name| {
        host.eq_ignore_ascii_case(name) && !(mutation.is("host-in-lower-case-only") && host != name)
            || mutation.is("host-as-a-prefix") && host.starts_with(name.as_str())
            || mutation.is("host-with-any-port") && host.split(':').next() == name.split(':').next()
            || mutation.is("socket-host-with-port") && name == "localhost" && host.starts_with("localhost")
    });
    let is_ours = is_ours || mutation.is("host-unchecked");
    (!is_ours).then(|| Answer::text(403, "the request names another server"))
}

fn origin_is_allowed(server: &Server, request: &Request) -> bool {
    let mutation = &server.mutation;
    let origins: Vec<_> = request.values("origin").collect();
    let allowed = |origin: &str| {
        server.host.origins.iter().any(|allowed| {
            allowed == origin
                || mutation.is("origin-in-any-case") && allowed.eq_ignore_ascii_case(origin)
                || mutation.is("origin-as-a-prefix") && origin.starts_with(allowed.as_str())
        })
    };
    match origins[..] {
        [] => true,
        _ if mutation.is("origin-unchecked") => true,
        ["null"] if mutation.is("null-is-an-origin") => true,
        [origin] => allowed(origin),
        [origin, ..] => mutation.is("first-of-two-origins") && allowed(origin),
    }
}

fn preflight(mutation: &Mutation, request: &Request) -> Answer {
    let asked = |name| request.values(name).next().unwrap_or_default().to_owned();
    let mut answer = Answer::empty(if mutation.is("preflight-404") { 404 } else { 204 });
    answer.add("Access-Control-Max-Age", "7200");
    let methods = asked("access-control-request-method");
    let methods = if mutation.is("preflight-of-get-and-post") { "GET, POST".to_owned() } else { methods };
    answer.add("Access-Control-Allow-Methods", &methods);
    let headers = asked("access-control-request-headers");
    if !headers.is_empty() {
        let headers = if mutation.is("preflight-star") { "*".to_owned() } else { headers };
        answer.add("Access-Control-Allow-Headers", &headers);
    }
    let network = asked("access-control-request-private-network");
    if network == "true" && !mutation.is("no-private-network") || mutation.is("always-private-network") {
        answer.add("Access-Control-Allow-Private-Network", "true");
    }
    answer
}

fn with_token(server: &Server, request: &Request) -> Answer {
    let mutation = &server.mutation;
    let may = server.host.token.as_deref().is_none_or(|token| carries(server, request, token));
    let reads = matches!(request.method.as_str(), "GET" | "HEAD");
    if is_health(mutation, &request.target)
        && (reads || mutation.is("health-by-any-method") && !may && request.method != "OPTIONS")
    {
        return match may {
            true => health::whole(server),
            false if mutation.is("health-needs-the-token") => unauthorized(mutation),
            false => health::alive(server, request),
        };
    }
    let open = mutation.is("docs-without-token") && request.target == "/docs";
    if !may && !open {
        return unauthorized(mutation);
    }
    if mutation.is("ends-by-itself") && may && request.target == "/no-such-path" {
        std::thread::spawn(|| {
            // The answer comes before the end.
            std::thread::sleep(std::time::Duration::from_millis(100));
            std::process::exit(3)
        });
    }
    let upgrades = request.only("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    if upgrades && request.target == "/socket" {
        return upgrade(mutation, request);
    }
    match request.target.as_str() {
        "/" | "/docs" => Answer::text(200, "Hello"),
        _ => Answer::text(404, "no such path"),
    }
}

fn is_health(mutation: &Mutation, target: &str) -> bool {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    path == "/health" && !(query.is_some() && mutation.is("health-without-a-query"))
        || mutation.is("health-with-a-slash") && path == "/health/"
        || mutation.is("health-decoded") && path == "/%68ealth"
        || mutation.is("health-in-any-case") && path.eq_ignore_ascii_case("/health")
        || mutation.is("health-as-a-prefix") && path.starts_with("/health")
}

fn unauthorized(mutation: &Mutation) -> Answer {
    let mut answer = Answer::text(401, "needs the token of its run");
    if !mutation.is("no-www-authenticate") {
        answer.add("WWW-Authenticate", "Bearer");
    }
    answer
}

fn carries(server: &Server, request: &Request, token: &str) -> bool {
    let mutation = &server.mutation;
    if mutation.is("token-unchecked") && !request.target.starts_with("/health") {
        return true;
    }
    let is_token = |presented: &str| {
        presented == token
            || mutation.is("token-as-a-prefix") && presented.starts_with(token)
            || mutation.is("token-without-its-last-digit") && presented.get(..63) == token.get(..63)
            || mutation.is("token-in-any-case") && presented.eq_ignore_ascii_case(token)
    };
    let bearer = |value: &str| {
        let Some((scheme, rest)) = value.split_once(' ') else { return false };
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        let is_bearer = scheme.eq_ignore_ascii_case("Bearer")
            && !(mutation.is("one-spelling-of-bearer") && scheme != "Bearer")
            || mutation.is("basic-is-a-scheme") && scheme == "Basic";
        is_bearer && !(mutation.is("one-space") && spaces > 0) && is_token(rest.trim_start_matches(' '))
    };
    let authorized = match request.values("authorization").collect::<Vec<_>>()[..] {
        [value] => bearer(value),
        [first, ..] if mutation.is("first-of-two-tokens") => bearer(first),
        _ => false,
    };
    let elsewhere = mutation.is("token-in-a-cookie")
        && request.values("cookie").any(|cookie| cookie.contains(token))
        || mutation.is("token-in-a-query")
            && request.target.split_once('?').is_some_and(|(_, query)| query.contains(token));
    authorized || elsewhere || as_subprotocol(mutation, request, |presented| presented == token)
}

fn as_subprotocol(mutation: &Mutation, request: &Request, is_token: impl Fn(&str) -> bool) -> bool {
    let upgrades = request.only("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    let one_line = request.only("sec-websocket-protocol").is_some();
    (upgrades || mutation.is("subprotocol-without-upgrade"))
        && (one_line || mutation.is("subprotocol-in-two-lines"))
        && !mutation.is("no-subprotocol")
        && request
            .elements("sec-websocket-protocol")
            .any(|offer| offer.strip_prefix("pillion.bearer.").is_some_and(&is_token))
}

fn upgrade(mutation: &Mutation, request: &Request) -> Answer {
    let offers: Vec<_> = request.elements("sec-websocket-protocol").collect();
    let bearer = offers.iter().find(|offer| offer.starts_with("pillion.bearer.")).copied();
    let chosen = ["chat", "pillion"].into_iter().find(|wanted| offers.contains(wanted));
    let own = offers.iter().find(|offer| !offer.starts_with("pillion")).copied();
    // Breaks no rule: a server may speak every subprotocol.
    let chosen = if mutation.is("first-subprotocol-chosen") { own.or(chosen) } else { chosen };
    let chosen = if mutation.is("token-in-the-answer") { bearer.or(chosen) } else { chosen };
    let mut answer = Answer::empty(101);
    answer.add("Upgrade", "websocket");
    if let Some(chosen) = chosen.filter(|chosen| !(mutation.is("pillion-not-chosen") && *chosen == "pillion"))
    {
        answer.add("Sec-WebSocket-Protocol", chosen);
    }
    answer
}
