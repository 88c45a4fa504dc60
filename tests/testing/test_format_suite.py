"""The suite for formats on one that is a JSON file: sound, it passes; each fault is found by the test for it."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import tally

from modelmill import ConvertError, Facts, Format, Tensor, TensorData
from modelmill.testing import FormatSuite


class Suite(FormatSuite):
    plugin = "tally_plugin"
    name = "tally"

    def make_sample(self, folder: Path) -> None:
        (folder / tally.FILE).write_text('{"tally": []}')

    def structure(self, folder: Path) -> Iterable[tuple[Path, range]]:
        yield folder / tally.FILE, range(13)


class NoStructure(Suite):
    def structure(self, folder: Path) -> Iterable[tuple[Path, range]]:
        return [(path, range(9)) for path in folder.glob("*.tally")]


@dataclass(frozen=True)
class Values:
    dtype: str
    shape: tuple[int, ...]


def facts(folder: Path) -> Facts:
    return replace(tally.facts(folder), tensors=(Tensor(name="words", dtype="F32", shape=(2, 3)),))


def tensors(shape: tuple[int, ...] = (6,), dtype: str = "float32", raw: bytes = bytes(24)) -> Iterator[TensorData]:
    tensor = Tensor(name="words", dtype="F32", shape=(2, 3))
    yield TensorData(tensor=tensor, raw=memoryview(raw), values=lambda: Values(dtype, shape))


def touch(folder: Path) -> None:
    tally.validate(folder)
    (folder / "seen").touch()


def careless(folder: Path) -> None:
    if [*json.loads((folder / tally.FILE).read_bytes())] != ["tally"]:
        raise ConvertError("not a tally")


def quiet(folder: Path) -> None:
    try:
        tally.validate(folder)
    except ConvertError:
        raise ConvertError from None


SOUND = replace(tally.FORMAT, facts=facts, tensors=lambda folder: tensors())  # noqa: ARG005
FAULTS: dict[str, tuple[Format, str, str]] = {
    "does not know its own": (
        replace(SOUND, detect=lambda folder: False),  # noqa: ARG005
        "detect",
        "detect does not know the sample",
    ),
    "takes anything for its own": (
        replace(SOUND, detect=lambda folder: any(folder.iterdir())),
        "detect",
        "detect takes a folder with text for its own",
    ),
    "cannot look at a folder without its file": (
        replace(SOUND, detect=lambda folder: bool((folder / tally.FILE).read_text())),
        "detect",
        "detect: FileNotFoundError: ",
    ),
    "says that it is another format": (
        replace(SOUND, facts=lambda folder: replace(facts(folder), format="other")),
        "facts",
        "the facts say that the format is 'other'",
    ),
    "names a scheme that it does not have": (
        replace(SOUND, facts=lambda folder: replace(facts(folder), scheme="other")),
        "facts",
        "the facts name the scheme 'other', which the record does not",
    ),
    "tells the wrong size of a file": (
        replace(SOUND, facts=lambda folder: replace(facts(folder), files={tally.FILE: 1})),
        "facts",
        "the facts tell other sizes than the files have: tally.json",
    ),
    "tells where the model lies": (
        replace(SOUND, facts=lambda folder: replace(facts(folder), details={"at": str(folder)})),
        "where",
        "the facts depend on where the model lies",
    ),
    "refuses a sound model": (
        replace(SOUND, validate=lambda folder: json.loads("")),  # noqa: ARG005
        "sound",
        "validate finds fault with the sample: JSONDecodeError: ",
    ),
    "changes the model": (replace(SOUND, validate=touch), "sound", "validate changes the model"),
    "has no such tensors as it says": (
        replace(SOUND, tensors=lambda folder: iter(())),  # noqa: ARG005
        "tensors",
        "tensors gives others than the facts",
    ),
    "loses a value": (
        replace(SOUND, tensors=lambda folder: tensors(shape=(5,))),  # noqa: ARG005
        "tensors",
        "words (2, 3) has float32 values of shape (5,)",
    ),
    "widens to another type": (
        replace(SOUND, tensors=lambda folder: tensors(dtype="float16")),  # noqa: ARG005
        "tensors",
        "words (2, 3) has float16 values of shape (6,)",
    ),
    "has a tensor without bytes": (
        replace(SOUND, tensors=lambda folder: tensors(raw=b"")),  # noqa: ARG005
        "tensors",
        "the tensor words has no bytes",
    ),
    "does not see a flipped byte": (
        replace(SOUND, validate=lambda folder: None),  # noqa: ARG005
        "flipped",
        "tally.json: a flipped byte 0 passes as sound",
    ),
    "does not see that the end is missing": (
        replace(SOUND, validate=lambda folder: None),  # noqa: ARG005
        "short",
        "tally.json: ",
    ),
    "raises what nobody expects at a flipped byte": (
        replace(SOUND, validate=careless),
        "flipped",
        "validate: ",
    ),
    "raises what nobody expects at a damaged file": (
        replace(SOUND, validate=careless),
        "damage",
        "tally.json missing: FileNotFoundError: ",
    ),
    "has no word for a damaged file": (
        replace(SOUND, facts=lambda folder: quiet(folder) or facts(folder)),  # type: ignore[func-returns-value]
        "damage",
        "tally.json missing: an error without a word",
    ),
}
SUITE = Suite()
TESTS: dict[str, Callable[[Format, Path, Path], None]] = {
    "detect": SUITE.test_detect_knows_its_own_and_nothing_else,
    "facts": lambda record, sample, _: SUITE.test_facts_say_what_is_there_and_survive_json(record, sample),
    "where": SUITE.test_facts_do_not_depend_on_where_the_model_lies,
    "sound": lambda record, sample, _: SUITE.test_a_sound_model_is_valid_and_left_alone(record, sample),
    "tensors": lambda record, sample, _: SUITE.test_tensors_are_those_of_the_facts(record, sample),
    "flipped": lambda record, sample, _: SUITE.test_validate_finds_a_flipped_byte_in_the_structure(record, sample),
    "short": lambda record, sample, _: SUITE.test_validate_finds_a_file_cut_short(record, sample),
    "damage": SUITE.test_damage_raises_convert_error_and_nothing_else,
}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    (tmp_path / "sample").mkdir()
    SUITE.make_sample(tmp_path / "sample")
    return tmp_path / "sample"


@pytest.mark.parametrize("test", TESTS)
def test_a_sound_format_passes(test: str, sample: Path, tmp_path: Path) -> None:
    TESTS[test](SOUND, sample, tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_format_is_caught_in_one_sentence_that_names_it_which(fault: str, sample: Path, tmp_path: Path) -> None:
    record, test, sentence = FAULTS[fault]
    with pytest.raises((AssertionError, pytest.fail.Exception)) as raised:
        TESTS[test](record, sample, tmp_path)
    assert str(raised.value).startswith(f"tally_plugin: format tally: {sentence}")


def test_a_suite_that_flips_no_byte_fails(sample: Path) -> None:
    with pytest.raises(AssertionError, match=r"^tally_plugin: format tally: the suite's `structure` names no byte"):
        NoStructure().test_validate_finds_a_flipped_byte_in_the_structure(SOUND, sample)
