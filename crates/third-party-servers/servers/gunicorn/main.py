"""A plain WSGI app, without a framework."""


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello from a stranger\n"]
