"""The application: all of its routes."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from prometheus_client.exposition import choose_encoder
from starlette.routing import BaseRoute, Route

from serving import kserve, predict, problem_details
from serving.app_state import AppState, state_of
from serving.middleware import Middleware

PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

router = APIRouter()


def create(state: AppState, token: str | None, root_path: str = "") -> Middleware:
    """Create the ASGI application.

    Parameters
    ----------
    state : shared by all requests
    token : that requests must have; None if they need none
    root_path : where a proxy shows the application, such as "/digits"
    """
    app = FastAPI(title="digits", version="1", docs_url=None, redoc_url=None, routes=routes())
    app.state.serving = state
    problem_details.install(app)
    parameters = {"name": kserve.NAME}
    direct = {
        route.path.format_map(parameters): (route, parameters)
        for route in routes()
        if isinstance(route, APIRoute) and route.methods == {"POST"} and "version" not in route.path
    }
    return Middleware(app, state, token, root_path, direct)


def routes() -> list[BaseRoute]:
    return [*predict.router.routes, *kserve.router.routes, *router.routes]


def segments() -> set[str]:
    """The first segments of all paths; a proxy's prefix must differ from them."""
    paths = [route.path for route in routes() if isinstance(route, Route | APIRoute)]
    return {path.split("/")[1] for path in [*paths, "/openapi.json"]} - {""}


def policy(page: str) -> str:
    """A Content-Security-Policy that allows only the page's own script, style and base."""

    def hashes(tag: str) -> str:
        contents = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (hashlib.sha256(content.encode()).digest() for content in contents)
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src data:; connect-src 'self'; base-uri 'self'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


POLICY = policy(PAGE)


@router.get("/", include_in_schema=False)
async def page(request: Request) -> HTMLResponse:
    # Relative links alone would fail at PREFIX without a slash after it.
    base = f'<base href="{request.scope["root_path"]}/">'
    html = PAGE.replace("<head>", f"<head>\n{base}", 1) if request.scope["root_path"] else PAGE
    return HTMLResponse(html, headers={"Content-Security-Policy": POLICY})


@router.get("/version", summary="The model that answers requests")
async def version(request: Request) -> dict[str, Any]:
    model = state_of(request).live_model.served
    return {
        "version": model.version,
        "tag": model.tag,
        "model": model.classifier.id,
        "classes": model.classifier.classes,
        "size": model.classifier.preprocessing.size,
    }


@router.get("/livez", summary="Is the server running?")
async def live() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/ping", include_in_schema=False)  # SageMaker's name for /readyz
@router.get("/readyz", summary="Should it get requests? 503 while it stops")
async def ready(request: Request) -> dict[str, str]:
    state_of(request).check_ready()
    return {"status": "ready"}


@router.get("/metrics", summary="Metrics for Prometheus")
async def metrics(request: Request) -> Response:
    try:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
    except TypeError:  # it asks for a version that is no number
        encode, kind = choose_encoder("")
    return Response(encode(state_of(request).metrics.registry), headers={"Content-Type": kind})
