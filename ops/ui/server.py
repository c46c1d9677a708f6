"""Serve the pages on this computer."""

import mimetypes
import secrets
import socket
from pathlib import PurePath

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from digits.core.errors import InputError
from ops.ui import contents, project

HOST = "127.0.0.1"


def run(port: int, *, read_only: bool) -> None:
    """Serve until Ctrl-C; raises `InputError` if the port is in use."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise InputError(f"port {port} can't be used: {error}. Choose: --port N") from None
        token = secrets.token_urlsafe(24)
        address = f"http://{HOST}:{listener.getsockname()[1]}/?token={token}"
        print(f"Open {address}\nCtrl-C stops it", flush=True)
        config = uvicorn.Config(app(token, read_only=read_only), log_level="warning")
        uvicorn.Server(config).run([listener])


def app(token: str, *, read_only: bool) -> Starlette:
    async def page(request: Request) -> Response:
        path = request.path_params["path"] or "index.html"
        if request.query_params.get("token") == token:
            response = RedirectResponse(f"/{path}")
            response.set_cookie("token", token, httponly=True, samesite="strict")
            return response
        if not secrets.compare_digest(request.cookies.get("token", ""), token):
            return Response("Open the address that `make ui` printed, with its token", 403)
        here = project.read(is_live=True, read_only=read_only)
        make = contents.resources(here).get(path)
        if make is None:
            return Response("There is no such page", 404)
        kind = mimetypes.guess_type(PurePath(path).name)[0] or "application/octet-stream"
        return Response(await run_in_threadpool(make), media_type=kind)

    return Starlette(routes=[Route("/{path:path}", page)])
