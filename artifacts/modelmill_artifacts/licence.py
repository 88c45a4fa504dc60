"""Whether a licence is allowed: SPDX expressions, and the model licences that SPDX does not list, by name."""

import difflib
import functools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelmill_artifacts.errors import ArtifactError

_WORD = re.compile(r"\s*(?:([()])|([A-Za-z0-9][A-Za-z0-9.:+-]*))")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLicence:
    """A licence that model makers wrote themselves, under a name of its own, and what it asks of who passes it on."""

    name: str
    title: str
    obligations: tuple[str, ...]


def _llama(version: str) -> ModelLicence:
    notice = (
        f"Llama {version} is licensed under the Llama {version} Community License, "
        "Copyright (c) Meta Platforms, Inc. All Rights Reserved."
    )
    named = (
        'show "Built with Llama" where the model is offered or used in a product',
        'begin the name of a derived model with "Llama"',
    )
    return ModelLicence(
        name=f"LicenseRef-Llama-{version}",
        title=f"Llama {version} Community License Agreement",
        obligations=(
            "pass on a copy of the agreement",
            f'pass on a file NOTICE with the text "{notice}"',
            *(() if version == "2" else named),
        ),
    )


_GEMMA = ModelLicence(
    name="LicenseRef-Gemma",
    title="Gemma Terms of Use",
    obligations=(
        "pass on a copy of the Gemma Terms of Use with its use restrictions",
        (
            'pass on a file NOTICE with the text "Gemma is provided under and subject to the Gemma Terms of Use '
            'found at ai.google.dev/gemma/terms"'
        ),
        "say in modified files that you modified them",
    ),
)

MODEL_LICENCES: Mapping[str, ModelLicence] = {
    "gemma": _GEMMA,
    **{f"llama{version}": _llama(version) for version in ("2", "3", "3.1", "3.2", "3.3", "4")},
}
"""The hub's identifier of each model licence that is known here. Read from the licences' own texts."""

_BY_NAME = {found.name.lower(): found for found in MODEL_LICENCES.values()}


def normalise(stated: str) -> str:
    """A stated licence as an SPDX expression: known identifiers in SPDX's spelling, others as `LicenseRef-NAME`.

    Takes the hub's spellings (`apache-2.0`, `llama3.2`, `gemma`). Raises ArtifactError for what is no expression.
    """
    if stated.lower() in MODEL_LICENCES:
        return MODEL_LICENCES[stated.lower()].name
    return _write(parse(stated))


def fault(stated: str) -> str | None:
    """What is wrong with a licence that a person states: no expression, or a name that neither SPDX nor we know.

    A licence of somebody's own says so: `LicenseRef-NAME`.
    """
    if stated.lower() in MODEL_LICENCES:
        return None
    try:
        parse(stated)
    except ArtifactError as error:
        near = _near(stated)
        return f"{error}; did you mean {near!r}?" if near else f"{error}; write one such as 'Apache-2.0 OR MIT'"
    for word in _words(stated):
        if word in ("(", ")") or word.upper() in {"AND", "OR", "WITH"} or _is_known(word):
            continue
        near = _near(word)
        meant = f"did you mean {near!r}? A licence" if near else "a licence"
        return f"licence {word!r} is not on SPDX's list; {meant} that is not there is written LicenseRef-NAME"
    return None


def _is_known(word: str) -> bool:
    plain = word.removesuffix("+")
    own = plain.startswith(("LicenseRef-", "DocumentRef-"))
    return own or word.lower() in MODEL_LICENCES or plain.lower() in identifiers()


def _near(word: str) -> str | None:
    near = difflib.get_close_matches(word.lower(), identifiers(), n=1, cutoff=0.7)
    return identifiers()[near[0]] if near else None


def all_of(stated: Iterable[str]) -> str | None:
    """The expression of what is under all of these licences at once; None for none. Raises ArtifactError as above."""
    found = dict.fromkeys(map(normalise, stated))
    return _write(parse(" AND ".join(f"({licence})" for licence in found))) if found else None


def allowed(expression: str, allow: Collection[str] | None, deny: Collection[str] = ()) -> bool:
    """Whether what an expression grants can be had under licences that are allowed and not denied.

    One side of an OR suffices, an AND needs both. None as `allow` allows all that is not denied. `X WITH E` is
    covered by either itself or X, since an exception only gives more.
    """
    good = None if allow is None else {normalise(item) for item in allow}
    bad = {normalise(item) for item in deny}

    def holds(node: "Node") -> bool:
        if isinstance(node, tuple):
            parts = [holds(part) for part in node[1:] if not isinstance(part, str)]
            return any(parts) if node[0] == "OR" else all(parts)
        names = {node.text, node.licence}
        return not names & bad and (good is None or bool(names & good))

    return holds(parse(normalise(expression)))


def obligations(expression: str) -> tuple[str, ...]:
    """What the known model licences of an expression ask of whoever passes the model on."""
    found: list[str] = []

    def visit(node: "Node") -> None:
        if isinstance(node, tuple):
            for part in node[1:]:
                if not isinstance(part, str):
                    visit(part)
        elif node.text.lower() in _BY_NAME:
            known = _BY_NAME[node.text.lower()]
            found.extend(f"{known.title}: {item}" for item in known.obligations)

    visit(parse(normalise(expression)))
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Term:
    """One licence of an expression; `text` also has its exception, if there is one."""

    text: str
    licence: str


Node = Term | tuple[str, "Node", "Node"]
"""An SPDX expression: a term, or AND or OR of two."""


def parse(expression: str) -> Node:
    """The tree of an SPDX expression (SPDX 2.3, annex D: WITH binds before AND, AND before OR).

    Raises ArtifactError for anything else.
    """
    words = _words(expression)
    node = _either(words, expression)
    if words:
        raise _unsound(expression, f"{words[0]!r} is one word too many")
    return node


def _words(expression: str) -> list[str]:
    words, at = [], 0
    text = expression.rstrip()
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            raise _unsound(expression, f"{text[at:].strip()!r} is no part of one")
        words.append(match[1] or match[2])
        at = match.end()
    return words


def _either(words: list[str], expression: str) -> Node:
    node = _both(words, expression)
    while words and words[0].upper() == "OR":
        words.pop(0)
        node = ("OR", node, _both(words, expression))
    return node


def _both(words: list[str], expression: str) -> Node:
    node = _term(words, expression)
    while words and words[0].upper() == "AND":
        words.pop(0)
        node = ("AND", node, _term(words, expression))
    return node


def _term(words: list[str], expression: str) -> Node:
    if not words or words[0] == ")" or words[0].upper() in {"AND", "OR", "WITH"}:
        raise _unsound(expression, "a licence is missing")
    word = words.pop(0)
    if word == "(":
        node = _either(words, expression)
        if not words or words.pop(0) != ")":
            raise _unsound(expression, "')' is missing")
        return node
    licence = _identifier(word)
    if words and words[0].upper() == "WITH":
        words.pop(0)
        if not words:
            raise _unsound(expression, "an exception is missing")
        return Term(f"{licence} WITH {_identifier(words.pop(0))}", licence)
    return Term(licence, licence)


def _identifier(word: str) -> str:
    if word.lower() in MODEL_LICENCES:
        return MODEL_LICENCES[word.lower()].name
    if word.lower() in _BY_NAME:
        return _BY_NAME[word.lower()].name
    plain = word.removesuffix("+")
    known = identifiers().get(plain.lower())
    if known is not None:
        return known + word[len(plain) :]
    if plain.startswith(("LicenseRef-", "DocumentRef-")):
        return plain
    return "LicenseRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", plain)


@functools.cache
def identifiers() -> Mapping[str, str]:
    """Every identifier of the SPDX licence list, by its lower-case form."""
    text = Path(__file__).with_name("spdx.txt").read_text("utf-8")
    return {line.lower(): line for line in text.splitlines()}


def _write(node: Node, within: str = "") -> str:
    if isinstance(node, Term):
        return node.text
    operator, left, right = node
    text = f"{_write(left, operator)} {operator} {_write(right, operator)}"
    return f"({text})" if within == "AND" and operator == "OR" else text


def _unsound(expression: str, why: str) -> ArtifactError:
    return ArtifactError(f"licence {expression!r} is not an SPDX expression: {why}")
