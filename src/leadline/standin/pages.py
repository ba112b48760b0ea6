"""What the exchange's front answers in HTML, and to whom: refusals that no endpoint has seen."""

from aiohttp import web

REASONS = {
    403: "403 Forbidden",
    404: "404 Not Found",
    410: "410 Gone",
    414: "414 URI Too Long",
    418: "418 I'm a teapot",
    429: "429 Too Many Requests",
    451: "451 Unavailable For Legal Reasons",
    500: "500 Internal Server Error",
    502: "502 Bad Gateway",
    503: "503 Service Unavailable",
    504: "504 Gateway Timeout",
}


def html(status: int) -> str:
    """The page that goes with a status."""
    reason = REASONS[status]
    return f"<html><head><title>{reason}</title></head><body><center><h1>{reason}</h1></center></body></html>"


def page(status: int, origin: str, *, retry_after_s: int = 0) -> web.Response:
    """That page as an answer. origin: what X-Standin says."""
    headers = {"X-Standin": origin}
    if retry_after_s:
        headers["Retry-After"] = str(retry_after_s)
    return web.Response(text=html(status), status=status, content_type="text/html", headers=headers)


def local_address(request: web.Request) -> str:
    """The address that the client connected to: each has its own budgets, as an address of the client has at the exchange."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return str(name[0]) if name else ""
