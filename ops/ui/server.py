"""Serve the pages on this computer, and run what they ask for."""

import mimetypes
import secrets
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from starlette.types import ASGIApp

from digits.core.errors import InputError, UserError
from ops.ui import contents, project
from ops.ui.facts import jobs
from ops.ui.live import actions, command_pages, events, label_page, parameters
from ops.ui.live.runner import Runner
from ops.ui.pages.render import html
from ops.ui.project import Elsewhere, Project
from ops.ui.security import Guard

HOST = "127.0.0.1"
LARGEST_FORM = 1 << 20  # bytes


@dataclass(frozen=True)
class Context:
    """What the answers to requests share; in `app.state`."""

    read_only: bool
    elsewhere: Elsewhere
    runner: Runner
    watcher: events.Watcher
    stopping: threading.Event


def run(port: int, *, read_only: bool, elsewhere: Elsewhere) -> None:
    """Serve until Ctrl-C, which also stops the running command.

    Raises
    ------
    InputError
        If the port is in use, or another server runs the commands of this repository.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()  # before the address is printed
        except OSError as error:
            raise InputError(f"port {port} can't be used: {error}. Choose: --port N") from None
        project.check_folder()
        context = Context(read_only, elsewhere, Runner(), events.Watcher(), threading.Event())
        if read_only:
            serve(listener, context)
        else:
            with context.runner.open():
                threading.Thread(target=parameters.types, daemon=True).start()  # takes seconds
                serve(listener, context)


def serve(listener: socket.socket, context: Context) -> None:
    port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
    config = uvicorn.Config(
        Guard(app(context), port, token, context.read_only),
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    print(f"Open http://{HOST}:{port}/?token={token}\nCtrl-C stops it", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again after it has stopped
        Server(config, context.stopping).run([listener])


class Server(uvicorn.Server):
    """Tells the streams of events to end, which would keep the server from stopping."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: object) -> None:
        self._stopping.set()
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def app(context: Context) -> ASGIApp:
    """The pages; what reads the repository runs on threads, as plain functions do in Starlette."""
    application = Starlette(
        routes=[
            Route("/events", changes),
            Route("/run.html", run_page, methods=["GET", "POST"]),
            Route("/preview", preview, methods=["POST"]),
            Route("/jobs.html", list_page),
            Route("/jobs/{id}.html", job_page),
            Route("/jobs/{id}.txt", job_output),
            Route("/jobs/{id}/events", follow),
            Route("/jobs/{id}/stop", stop, methods=["POST"]),
            Route("/labels/{what}", label, methods=["POST"]),
            Route("/{path:path}", page),
        ],
        exception_handlers={
            UserError: explain,
            OSError: explain,
            HTTPException: refuse,
            Exception: own_up,
        },
    )
    application.state.context = context
    return application


def page(request: Request) -> Response:
    here = current(request)
    path = request.path_params["path"] or "index.html"
    make = {**contents.resources(here), **label_page.resources(here)}.get(path)
    if make is None:
        raise HTTPException(404)
    kind = mimetypes.guess_type(PurePath(path).name)[0] or "application/octet-stream"
    return Response(make(), media_type=kind)


async def run_page(request: Request) -> Response:
    given = await sent_fields(request) if request.method == "POST" else request.query_params
    return await run_in_threadpool(form_page, request, dict(given))


def form_page(request: Request, given: dict[str, str]) -> Response:
    """A form; sent with the command that it showed, it runs this command."""
    if shared(request).read_only:
        raise HTTPException(404)
    here, is_sent = current(request), request.method == "POST"
    name, action = take_action(given, "reproduce")
    if is_sent:
        form = action.fill_in(given)
        if form.is_complete and given.get("command") == form.command:
            query = command_pages.query(name, form)
            job = shared(request).runner.add(action.title, form.words, query)
            return RedirectResponse(f"/{job.page}", 303)
    content = command_pages.form_page(here, name, given, sent=is_sent)
    return HTMLResponse(content, 422 if is_sent else 200)


async def preview(request: Request) -> Response:
    """The command of a form as it is filled in, and what is wrong, by field."""
    given = await sent_fields(request)
    name, action = take_action(given)
    form = await run_in_threadpool(action.fill_in, given)
    shown = {"command": form.command, "problems": form.problems, "errors": list(form.errors)}
    return JSONResponse(
        shown | ({"sweep": command_pages.sweep_text(form)} if name == "sweep" else {})
    )


def take_action(given: dict[str, str], default: str = "") -> tuple[str, actions.Action]:
    """Take the action's name out of a form's fields; return it and the action."""
    name = given.pop("action", default)
    if name not in actions.ACTIONS:
        raise HTTPException(404)
    return name, actions.ACTIONS[name]


def list_page(request: Request) -> Response:
    return HTMLResponse(command_pages.list_page(current(request)))


def job_page(request: Request) -> Response:
    return HTMLResponse(command_pages.job_page(current(request), requested(request)))


def job_output(request: Request) -> Response:
    job = requested(request)
    if not job.log.is_file():
        return PlainTextResponse("")
    return FileResponse(job.log, media_type="text/plain; charset=utf-8")


def stop(request: Request) -> Response:
    job = requested(request)
    shared(request).runner.stop(job.id)
    return RedirectResponse(f"/{job.page}" if jobs.read(job.id) else "/jobs.html", 303)


async def label(request: Request) -> Response:
    given = await sent_fields(request)
    return await run_in_threadpool(label_page.answer, request.path_params["what"], given)


async def changes(request: Request) -> Response:
    context = shared(request)
    known = request.headers.get("last-event-id") or request.query_params.get("moment", "")
    return stream(events.changes(context.watcher, known, context.stopping.is_set))


async def follow(request: Request) -> Response:
    start = request.headers.get("last-event-id") or request.query_params.get("start", "")
    position = int(start) if start.isascii() and start.isdecimal() and len(start) < 16 else 0
    return stream(events.follow(requested(request).id, position, shared(request).stopping.is_set))


def stream(events: AsyncIterator[str]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")


def explain(request: Request, error: Exception) -> Response:
    """An error for the user, as a page that says what to do."""
    return problem_page(request, "This can't be shown", str(error), 503)


def refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = "There is no such page" if error.status_code == 404 else error.detail
    return problem_page(request, title, "", error.status_code)


def own_up(request: Request, error: Exception) -> Response:
    """A fault of this program, whose traceback uvicorn logs."""
    return problem_page(request, "A fault of the program", f"{type(error).__name__}: {error}", 500)


def problem_page(request: Request, title: str, text: str, status: int) -> Response:
    read_only = shared(request).read_only
    nothing = Project(f"{time.monotonic_ns()}", is_live=True, read_only=read_only)  # nothing kept
    try:
        path = request.url.path.removeprefix("/")
        content = html(nothing, path, "problem.html.jinja", title, text=text)
    except UserError:  # Git fails, so there is no commit to show either
        return PlainTextResponse(f"{title}\n\n{text}\n", status)
    return HTMLResponse(content, status)


def shared(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def current(request: Request) -> Project:
    context = shared(request)
    return project.read(is_live=True, read_only=context.read_only, elsewhere=context.elsewhere)


def requested(request: Request) -> jobs.Job:
    job = jobs.read(request.path_params["id"])
    if job is None:
        raise HTTPException(404)
    return job


async def sent_fields(request: Request) -> dict[str, str]:
    """The fields of a form, as a browser encodes them."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            raise HTTPException(413, "The form is too large")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise HTTPException(400, "This is not a form") from None
    return dict(pairs)
