"""A model's chat template, rendered without trusting it: a template is code that came with weights.

It runs in Jinja's immutable sandbox and sees nothing but the messages and the names of special
tokens. White space is handled as transformers does, since templates are written against that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from harness.errors import ModelError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["render_chat"]


def render_chat(
    template: str,
    messages: Sequence[Mapping[str, str]],
    special_tokens: Mapping[str, str],
    *,
    where: str,
) -> str:
    """Return the prompt for a conversation, up to where the assistant's answer begins.

    Args:
        template: Jinja source.
        messages: Each with `role` and `content`.
        special_tokens: `bos_token`, `eos_token` and the like, as templates call them.
        where: The model, for errors.

    Raises:
        ModelError: where the template does not compile, fails or refuses the conversation.
    """
    from jinja2 import TemplateError

    try:
        return (
            _environment()
            .from_string(template)
            .render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=True,
                tools=None,
                documents=None,
                **special_tokens,
            )
        )
    except (
        TemplateError,
        TypeError,
        ValueError,
        KeyError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ModelError(
            f"the chat template fails: {error}", where=where, remedy="leave out --chat"
        ) from error


def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class PlainNamespace(Namespace):
        """A namespace without underscored names, which the sandbox would look up on it."""

        def __init__(*args: Any, **kwargs: Any) -> None:  # `self` is a name templates may use
            if any(str(name).startswith("_") for name in dict(*args[1:], **kwargs)):
                _refuse("underscored names cannot be stored in a namespace")
            Namespace.__init__(*args, **kwargs)

        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                _refuse("underscored names cannot be stored in a namespace")
            super().__setitem__(name, value)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson  # Jinja's own escapes for HTML
    environment.globals = {
        "range": environment.globals["range"],  # the sandbox's, which is bounded
        "namespace": PlainNamespace,
        "dict": lambda *args, **kwargs: dict(*args, **kwargs),
        "raise_exception": _refuse,
        "strftime_now": lambda layout: datetime.now().astimezone().strftime(layout),
    }
    return environment


def _refuse(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _tojson(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
