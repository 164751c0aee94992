"""The service over HTTP: paths, validation, limits and documentation, whatever answers."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.params import Depends
from pydantic import ValidationError
from pydantic.json_schema import models_json_schema
from starlette.datastructures import UploadFile
from starlette.responses import HTMLResponse

from outfits.config.schema.serve import LOOPBACK, ServeConfig
from outfits.serving.documentation import documentation
from outfits.serving.requests import CHANGES, MOST_PHOTOS, OPERATIONS, Answer, Call, Operation, refused

SHOWN_ERRORS = 20  # of one request
JSON, FORM = "application/json", "multipart/form-data"
FORM_FIELD = "request"  # of a multipart request, beside its files
SCHEMAS = "#/components/schemas/"
OWN_PAGES = ("/docs", "/redoc", "/docs/oauth2-redirect")
PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
LOCAL = (LOOPBACK, "localhost")  # names by which a program on this machine asks a service on it
NOT_CHANGEABLE = (
    "without a token the catalogue can be changed only from this machine, where the service is on it alone, and not by "
    "a page of another origin"
)

Submit = Callable[[Call], Awaitable[Answer]]


def add_routes(
    app: FastAPI,
    submit: Submit,
    config: ServeConfig,
    dependencies: Sequence[Depends] = (),
    *,
    changeable: Callable[[Request], bool] = lambda request: True,
) -> None:
    """Adds the operations to an application, which ``submit`` answers, and their documentation.

    Args:
        app: the application.
        submit: answers a call; what it may take is limited here.
        config: the limits.
        dependencies: what every operation depends on, such as a token.
        changeable: whether a request may change the catalogue.
    """

    def endpoint(name: str, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if name in CHANGES and not changeable(request):
                found = refused(403, ("", NOT_CHANGEABLE))
                return Response(found.body, found.status, HEADERS, JSON)
            try:
                async with asyncio.timeout(config.timeout):
                    found = await submit(await _read(name, operation, request, config))
            except ValidationError as error:
                found = _invalid(error)
            except TimeoutError:
                found = refused(503, ("", f"there was no answer within {config.timeout:g} seconds"))
            return Response(found.body, found.status, HEADERS, JSON)

        return answer

    for name, operation in OPERATIONS.items():
        app.add_api_route(
            operation.path,
            endpoint(name, operation),
            methods=[operation.method],
            name=name,
            dependencies=dependencies,
            description=operation.request.__doc__,
            openapi_extra=_documented(operation),
        )
    # FastAPI's own pages fetch scripts from elsewhere
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") not in OWN_PAGES]
    app.add_api_route("/docs", lambda: HTMLResponse(page, 200, PAGE_HEADERS), include_in_schema=False)
    page, documented = documentation(), app.openapi

    def openapi() -> dict[str, Any]:
        schema = documented()
        models = [(operation.request, "validation") for operation in OPERATIONS.values()]
        _, definitions = models_json_schema(models, ref_template=SCHEMAS + "{model}")  # type: ignore[arg-type]
        schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def bearer_token(token: str | None, open_paths: Sequence[str] = ()) -> Callable[..., None]:
    """A dependency that refuses requests without the token; ``open_paths``, and everything without a token, pass."""

    def authorised(request: Request, authorization: Annotated[str | None, Header()] = None) -> None:
        if token is None or request.url.path in open_paths:
            return
        kind, _, given = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    return authorised


def may_change(config: ServeConfig, token: str | None) -> Callable[[Request], bool]:
    """Tells which requests may change the catalogue: not those of anybody in a network.

    Without a token they must come from this machine, by a name of its own, so that no name of a page's leads here, and
    not by a page of another origin, which can have a browser send a form.
    """

    def allowed(request: Request) -> bool:
        if token is not None or config.host != LOOPBACK:
            return token is not None
        host, site, origin = (request.headers.get(name) for name in ("host", "sec-fetch-site", "origin"))
        try:
            if urlsplit(f"//{host}").hostname not in LOCAL:
                return False
            if site is not None:
                return site in ("same-origin", "none")
            return origin is None or urlsplit(origin).netloc == host
        except ValueError:  # of what is no address
            return False

    return allowed


async def _read(name: str, operation: Operation, request: Request, config: ServeConfig) -> Call:
    """Reads and validates a request.

    Raises:
        HTTPException: for a body that is too large or of another kind.
        ValidationError: for fields that cannot be used.
    """
    if operation.method == "DELETE":
        return Call(name, operation.request.model_validate(request.path_params))
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > config.max_request_mb * 2**20:
        raise HTTPException(413, f"a request has at most {config.max_request_mb} megabytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == JSON:
        return Call(name, operation.request.model_validate_json(await request.body()))
    if kind != FORM:
        raise HTTPException(415, f"the content type is {JSON} or {FORM}")
    photos: dict[str, bytes] = {}
    async with request.form(max_files=MOST_PHOTOS, max_fields=1) as form:
        asked = form.get(FORM_FIELD, "")
        for field, value in form.multi_items():
            if isinstance(value, UploadFile) and field != FORM_FIELD:
                photos[field] = await value.read()
        text = await asked.read() if isinstance(asked, UploadFile) else asked
    return Call(name, operation.request.model_validate_json(text), photos)


def _invalid(error: ValidationError) -> Answer:
    """The fields that are wrong and why, without what stood there: it may be large, and no text for JSON."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return refused(422, *((".".join(map(str, one["loc"])), one["msg"]) for one in errors[:SHOWN_ERRORS]))


def _documented(operation: Operation) -> dict[str, Any]:
    """What FastAPI cannot see of an operation that reads its body by itself."""
    answers = {
        "422": {"description": "A field cannot be used: `detail` has its name and why."},
        "503": {"description": "The service is busy, or did not answer in time."},
    }
    if operation.method == "DELETE":
        parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        return {"parameters": [parameter], "responses": answers}
    body: Mapping[str, Any] = {"$ref": SCHEMAS + operation.request.__name__}
    files = {"type": "object", "properties": {FORM_FIELD: body}, "additionalProperties": {"format": "binary"}}
    content = {JSON: {"schema": body}, FORM: {"schema": files}}
    return {"requestBody": {"required": True, "content": content}, "responses": answers}
