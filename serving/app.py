"""The application: every path that it answers on."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client.exposition import choose_encoder

from serving import kserve, predict, problems
from serving.middleware import Edge
from serving.service import Service, service_of

PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

router = APIRouter()


def create(service: Service, token: str | None) -> Edge:
    """An ASGI application.

    Parameters
    ----------
    service : what all requests share
    token : what they must bear, if anything
    """
    routes = [*predict.router.routes, *kserve.router.routes, *router.routes]
    app = FastAPI(title="digits", version="1", docs_url=None, redoc_url=None, routes=routes)
    app.state.service = service
    problems.install(app)
    return Edge(app, service, token)


def policy(page: str) -> str:
    """A Content-Security-Policy that allows the page its own script and style, and nothing else."""

    def hashes(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (hashlib.sha256(each.encode()).digest() for each in found)
        return " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


POLICY = policy(PAGE)


@router.get("/", include_in_schema=False)
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


@router.get("/version", summary="What answers")
async def version(request: Request) -> dict[str, Any]:
    served = service_of(request).current.served
    return {
        "version": served.version,
        "tag": served.tag,
        "model": served.classifier.id,
        "classes": served.classifier.classes,
        "size": served.classifier.preprocessing.size,
    }


@router.get("/livez", summary="Does it run?")
async def live() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/ping", include_in_schema=False)  # SageMaker's name for it
@router.get("/readyz", summary="Does it want requests?")
async def ready(request: Request) -> dict[str, str]:
    service_of(request).check_ready()
    return {"status": "ready"}


@router.get("/metrics", summary="For Prometheus")
async def metrics(request: Request) -> Response:
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(service_of(request).monitor.registry), headers={"Content-Type": kind})
