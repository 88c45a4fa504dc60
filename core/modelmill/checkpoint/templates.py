"""The chat templates of a checkpoint: where they stand, and what they are called.

They are looked for as transformers does: files before the entry of tokenizer_config.json, and last what older
processors have in a file of their own. `default` is the name of the one that is used where none is asked for.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelmill.checkpoint.jsonfile import CONFIG_LIMIT, read_object, read_text
from modelmill.errors import ConvertError

DEFAULT = "default"
_FILE = "chat_template.jinja"
_MORE = "additional_chat_templates/*.jinja"


def chat_templates(folder: Path) -> Iterator[tuple[str, str]]:
    """Every chat template that some runtime may choose, for tool use and the like, with where it stands."""
    for path in sorted((*folder.glob("*.jinja"), *folder.glob(_MORE))):
        yield path.relative_to(folder).as_posix(), read_text(path, CONFIG_LIMIT)
    for name in ("tokenizer_config.json", "processor_config.json", "chat_template.json"):
        if not (folder / name).is_file():
            continue
        found = read_object(folder / name, CONFIG_LIMIT).get("chat_template")
        entries = found.values() if isinstance(found, dict) else found if isinstance(found, list) else (found,)
        for entry in entries:
            template = entry.get("template") if isinstance(entry, dict) else entry
            if isinstance(template, str):
                yield f"{name}: chat_template", template


def named_templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """The templates by name. ConvertError for an entry that is no text; `config` is tokenizer_config.json."""
    found = {path.stem: read_text(path, CONFIG_LIMIT) for path in sorted(folder.glob(_MORE))}
    if (folder / _FILE).is_file():
        found[DEFAULT] = read_text(folder / _FILE, CONFIG_LIMIT)
    if found:
        return found
    if config.get("chat_template") is not None:
        return parse_templates(config["chat_template"], "tokenizer_config.json")
    older = folder / "chat_template.json"
    entry = read_object(older, CONFIG_LIMIT).get("chat_template") if older.is_file() else None
    return {} if entry is None else parse_templates(entry, older.name)


def parse_templates(entry: Any, where: str) -> dict[str, str]:
    """The templates of an entry `chat_template`: a text, or a list of texts with names."""
    if isinstance(entry, str):
        return {DEFAULT: entry}
    found: dict[str, str] = {}
    for each in entry if isinstance(entry, list) else (None,):
        name, template = (each.get("name"), each.get("template")) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(template, str):
            raise ConvertError(f"{where}: chat_template is not text, and no list of texts with names")
        found[name] = template
    return found
