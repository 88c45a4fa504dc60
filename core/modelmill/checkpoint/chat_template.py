"""Chat templates: whether one keeps to formatting messages, told by its syntax tree and never by running it.

A chat template is a Jinja program that every runtime executes. Runtimes sandbox it with differing care, so
what a sandbox would have to stop is refused here: see jinja2/sandbox.py for the attributes that lead from a
value to the interpreter, and transformers' `chat_template_utils.py` for the dialect.
"""

from typing import TYPE_CHECKING, Any

from modelmill.errors import ConvertError

if TYPE_CHECKING:
    from jinja2 import nodes

LIMIT = 1024 * 1024
"""Characters; the largest known templates have some 30,000."""
_GLOBALS = frozenset({"cycler", "joiner", "lipsum", "self", "__builtins__"})
_ESCAPES = frozenset(
    {"mro", "format_map", "func_globals", "func_code", "im_class", "im_func", "im_self", "tb_frame", "tb_next"}
    | {f"{kind}_{part}" for kind in ("gi", "cr", "ag") for part in ("frame", "code", "origin")}
    | {f"f_{part}" for part in ("back", "builtins", "code", "globals", "locals")}
)
_BY_NAME = frozenset({"attr", "map", "selectattr", "rejectattr", "groupby", "sort", "sum", "min", "max", "unique"})


def check_chat_template(template: str, where: str = "the chat template") -> None:
    """ConvertError for a template that reaches for more than messages, or that is no template at all."""
    if len(template) > LIMIT:
        raise ConvertError(f"{where}: {len(template):,} characters are more than the {LIMIT:,} allowed")
    from jinja2 import TemplateError, nodes

    try:
        tree = _environment().parse(template)
        for node in _walk(tree):
            reason = _offence(node, nodes)
            if reason:
                line = getattr(node, "lineno", 1)
                raise ConvertError(f"{where}: line {line} {reason}; a chat template may only format messages")
    except TemplateError as error:
        raise ConvertError(f"{where}: is not a Jinja template: {str(error).splitlines()[0]}") from None
    except (RecursionError, ValueError, OverflowError, MemoryError):
        raise ConvertError(f"{where}: is not a Jinja template that can be read") from None


def _walk(tree: "nodes.Node") -> "list[nodes.Node]":
    """Every node of a tree, without recursion, so that depth is no danger."""
    found, at = [tree], 0
    while at < len(found):
        found.extend(found[at].iter_child_nodes())
        at += 1
    return found


def _environment() -> Any:
    from jinja2 import Environment, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser

    class Generation(Extension):
        """transformers' `{% generation %}`, which marks what the assistant said."""

        tags = {"generation"}  # noqa: RUF012 - the type that the base class has

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    # Nothing is rendered: escaping, the cache and a loader have no part in parsing.
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])


def _offence(node: "nodes.Node", nodes: Any) -> str | None:
    """What a node does that no message needs, as the middle of a sentence; None where it is harmless."""
    if isinstance(node, nodes.Import | nodes.FromImport | nodes.Include | nodes.Extends):
        return "loads another template"
    if isinstance(node, nodes.Name):
        return f"uses {node.name!r}" if node.name in _GLOBALS or node.name.startswith("__") else None
    if isinstance(node, nodes.Getattr):
        return _attribute(node.attr, node.node, nodes)
    if isinstance(node, nodes.Getitem):
        return _subscript(node.arg, nodes)
    if isinstance(node, nodes.Filter) and node.name in _BY_NAME:
        return _filter(node, nodes)
    return None


def _attribute(name: str, owner: Any, nodes: Any) -> str | None:
    if isinstance(owner, nodes.Name) and owner.name == "namespace":
        return "looks inside the function 'namespace'"
    if name == "format" and not (isinstance(owner, nodes.Const) and "." not in str(owner.value)):
        return "formats by a text that is not fixed"
    return f"uses the attribute {name!r}" if _leads_out(name) else None


def _subscript(key: Any, nodes: Any) -> str | None:
    if isinstance(key, nodes.Const) and isinstance(key.value, str) and _leads_out(key.value):
        return f"uses the attribute {key.value!r}"
    if isinstance(key, nodes.Concat | nodes.Add | nodes.Mod | nodes.Mul):
        texts = [part.value for part in _walk(key) if isinstance(part, nodes.Const)]
        if any(isinstance(text, str) and "_" in text for text in texts):
            return "puts an attribute's name together"
    return None


def _filter(node: Any, nodes: Any) -> str | None:
    if node.name == "attr":
        return "uses the filter 'attr'"
    for argument in [*node.args, *(keyword.value for keyword in node.kwargs)]:
        for part in _walk(argument):
            if not isinstance(part, nodes.Const):
                continue
            words = str(part.value).split(".") if isinstance(part.value, str) else ()
            if "attr" in words or any(_leads_out(word) for word in words):
                return f"uses the attribute {part.value!r}"
    return None


def _leads_out(name: str) -> bool:
    return name.startswith("__") or name in _ESCAPES
