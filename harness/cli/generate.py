"""`harness generate`: one prompt through one backend, greedily. To see with one's own eyes.

It uses a session as the engine does, so what it prints is what a run would have timed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from harness.cli.arguments import PluginOption
from harness.cli.complete import backend_names, model_names
from harness.contracts import Backend, BackendOptions, Request, StreamSession
from harness.errors import InputError, UnavailableError
from harness.spec import Source, parse_setting, spec_error

if TYPE_CHECKING:
    from harness.contracts import Session
    from harness.model import Model, Tokenizer

__all__ = ["TextStream", "generate"]

_CONTROLS = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160)) if chr(n) not in "\n\t"}


def generate(
    model: Annotated[
        str,
        typer.Option(
            help="Preset, folder, .gguf or hf://…", autocompletion=model_names, show_default=False
        ),
    ],
    prompt: Annotated[
        str | None, typer.Option(help="Text to continue.", show_default=False)
    ] = None,
    prompt_ids: Annotated[
        str | None,
        typer.Option(metavar="1,2,3", help="Token ids to continue, instead.", show_default=False),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="How to execute it.", autocompletion=backend_names)
    ] = "eager",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to make at most.")] = 64,
    chat: Annotated[
        bool, typer.Option("--chat/--no-chat", help="Ask through the model's chat template.")
    ] = False,
    stop: Annotated[
        bool,
        typer.Option("--stop/--ignore-eos", help="End where the model does, or make all tokens."),
    ] = True,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16.", show_default=False)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads that compute.", show_default="all cores")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another option of the backend."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of a preset's weights.")] = 0,
    plugin: PluginOption = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print prompt_ids, token_ids and text as JSON.")
    ] = False,
) -> None:
    """Continue a prompt, greedily."""
    from harness import plugins
    from harness.model import open_model

    if (prompt is None) == (prompt_ids is None):
        raise InputError("give either --prompt or --prompt-ids", where="generate")
    for path in plugin or ():
        plugins.add_file(path)
    runner = plugins.find(Backend, backend)
    given = {"device": device, "dtype": dtype, "threads": threads}
    options = _options(runner, {k: v for k, v in given.items() if v is not None}, set_ or ())
    available = runner.availability(options.device)
    if not available.ok:
        raise UnavailableError(
            f"{backend} cannot run on {options.device}: {available.reason}",
            remedy=available.remedy,
        )
    opened = open_model(model, seed=seed)
    tokenizer = opened.tokenizer() if prompt is not None or opened.has_tokenizer else None
    if prompt is not None and tokenizer is not None:
        ids = _encode(tokenizer, prompt, chat=chat)
    elif chat:
        raise InputError("--chat needs --prompt, not --prompt-ids", where="generate")
    else:
        ids = _parse_ids(prompt_ids or "")
    _check(ids, max_new_tokens, opened)
    request = Request(tuple(ids), max_new_tokens)
    ends = frozenset(opened.config.eos_ids) if stop else frozenset()

    session = runner.load(opened, options.device, options)
    try:
        session.prepare(1, len(ids) + max_new_tokens)
        made: list[int] = []
        printer = None if json_ else _Printer(tokenizer)
        for token in _tokens(session, request):
            made.append(token)
            if printer:
                printer.show(token)
            if token in ends:
                break
    finally:
        session.close()
    if printer:
        printer.end()
    else:
        text = tokenizer.decode(made) if tokenizer else None
        typer.echo(json.dumps({"prompt_ids": ids, "token_ids": made, "text": text}))


def _options(runner: Backend, given: dict[str, Any], settings: Sequence[str]) -> BackendOptions:
    given |= dict(parse_setting(setting) for setting in settings)
    try:
        return runner.Options.model_validate(given)
    except ValidationError as error:
        fields = runner.Options.model_fields
        key = str(error.errors()[0]["loc"][0])
        flag = f"--{key}" if key in ("dtype", "threads", "device") else "--set"
        raise spec_error(error, Source(flag, ""), (), lambda _: fields) from error


def _encode(tokenizer: Tokenizer, prompt: str, *, chat: bool) -> list[int]:
    if chat:
        conversation = tokenizer.chat([{"role": "user", "content": prompt}])
        return tokenizer.encode(conversation, special=False)
    return tokenizer.encode(prompt)


def _parse_ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f'"{text}"', where="--prompt-ids", expected="token ids with commas between, e.g. 1,2,3"
        ) from error


def _check(ids: Sequence[int], max_new_tokens: int, model: Model) -> None:
    config = model.config
    if not ids:
        raise InputError("the prompt is empty", where="--prompt", expected="at least one token")
    for token in ids:
        if not 0 <= token < config.vocab_size:
            raise InputError(
                f"token id {token}",
                where="--prompt-ids",
                expected=f"0 to {config.vocab_size - 1}, the vocabulary of {model.name}",
            )
    if len(ids) + max_new_tokens > config.max_context:
        raise InputError(
            f"{len(ids)} prompt tokens and {max_new_tokens} new ones do not fit {model.name}",
            expected=f"{config.max_context} together at most",
            remedy="lower --max-new-tokens or shorten the prompt",
        )


def _tokens(session: Session, request: Request) -> Iterator[int]:
    """Yield the tokens of one request as they are made, on either level of session."""
    import torch

    from harness.contracts import StepSession

    if isinstance(session, StreamSession):
        yield from (event.token for event in session.stream([request]))
        return
    assert isinstance(session, StepSession)
    prompt = torch.tensor([request.prompt_ids])
    yield int(session.prefill(prompt, torch.tensor([len(request.prompt_ids)])).item())
    for _ in range(request.new_tokens - 1):
        yield int(session.decode().item())


class TextStream:
    """Turns tokens into pieces of text, holding back characters that are not yet complete."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._context = 0  # ids before it are only there so that decoding knows what came before
        self._shown = 0  # ids before it have been shown

    def push(self, token: int) -> str:
        """Return the text that this token completes, which may be none."""
        self._ids.append(token)
        text = self._pending()
        if text.endswith("\ufffd"):
            return ""
        self._context, self._shown = self._shown, len(self._ids)
        return text

    def rest(self) -> str:
        """Return what was held back, with \\ufffd where a character was never completed."""
        return self._pending()

    def _pending(self) -> str:
        before = self._tokenizer.decode(self._ids[self._context : self._shown])
        return self._tokenizer.decode(self._ids[self._context :])[len(before) :]


class _Printer:
    """Shows tokens as they come: as text, or as ids where there is no tokenizer."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self._stream = TextStream(tokenizer) if tokenizer else None
        self._terminal = sys.stdout.isatty()
        self._first = True

    def show(self, token: int) -> None:
        """Write what this token adds."""
        if self._stream:
            self._write(self._stream.push(token))
        else:
            self._write(f"{token}" if self._first else f",{token}")
            self._first = False

    def end(self) -> None:
        """Write what is left, and end the line."""
        self._write((self._stream.rest() if self._stream else "") + "\n")

    def _write(self, text: str) -> None:
        # Weights are strangers' work: their text must not steer the terminal.
        sys.stdout.write(text.translate(_CONTROLS) if self._terminal else text)
        sys.stdout.flush()
