"""`paceline serve`: the server, until it is told to stop."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from paceline.cli.options import NO_OPTIONS, Options

command = App(
    name="serve",
    help_epilogue="Examples:\n\n"
    "    paceline serve                            the demo model on port 8080\n"
    "    paceline serve --model models/bge-small   a sentence-transformers folder\n"
    "    paceline serve --generate models/smollm    a language model beside it\n"
    "    paceline serve --vectors collections       collections of vectors beside it\n"
    "    paceline serve --host 0.0.0.0 --port 80 --workers 4\n"
    "    paceline serve --set embed.precision=int8 --set limits.rpm=600\n"
    "    API_TOKEN=secret paceline serve --config production.toml\n\n"
    "Every setting: paceline config reference. SIGTERM and Ctrl-C let open requests end.",
)


@command.default
def serve(  # noqa: PLR0913 - the options of the command
    *,
    model: Annotated[str | None, Parameter(help="Same as --set embed.model=...")] = None,
    generate: Annotated[str | None, Parameter(help="Same as --set generate.model=...")] = None,
    vectors: Annotated[str | None, Parameter(help="Same as --set vectors.folder=...")] = None,
    host: Annotated[str | None, Parameter(help="Same as --set serve.host=...")] = None,
    port: Annotated[int | None, Parameter(help="Same as --set serve.port=...")] = None,
    workers: Annotated[int | None, Parameter(help="Same as --set serve.workers=...")] = None,
    options: Options = NO_OPTIONS,
) -> int:
    """Serve a model over HTTP.

    Answers /v1/embeddings, /v1/completions and /v1/chat/completions as OpenAI does, /v1/infer, /v1/models, /health, /metrics and /docs.
    """
    from paceline.app.server import run_server  # noqa: PLC0415 - the whole product, which `--help` does not need

    shortcuts = {
        "embed.model": model,
        "generate.model": generate,
        "vectors.folder": vectors,
        "serve.host": host,
        "serve.port": port,
        "serve.workers": workers,
    }
    settings = options.load(
        *(f"{name}={value}" for name, value in shortcuts.items() if value is not None)
    ).settings
    return run_server(settings)
