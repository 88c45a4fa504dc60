"""build.toml: every fault at once, each with its line, what was found and what there is."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill.config import parse
from modelmill.config.lines import locate
from modelmill.errors import ConfigError
from modelmill.registry import load

from .conftest import BUILD, Mill

REGISTRY = load()


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, Path("build.toml"), REGISTRY)
    return str(caught.value).splitlines()


def test_all_faults_are_told_at_once_with_their_lines() -> None:
    text = """[project]
name = "Words"
version = "1 0"
licence = "MIT"

[source.base]
uri = 3

[target.one]
source = "bass"
hardware = "bench"
format = "gguf"
schema = "F16"
default = "no"
"""
    assert faults(text) == [
        "build.toml:2: 'Words' is not a name: lower-case letters, digits, '.', '_' and '-' only",
        "build.toml:3: '1 0' is not a version: letters, digits, '.', '_' and '-', at most 128, as an OCI tag",
        "build.toml:4: unknown key 'licence'; did you mean 'license'?",
        "build.toml:7: 'uri' must be a string, not a whole number (3)",
        "build.toml:10: unknown source 'bass'; did you mean 'base'?",
        f"build.toml:11: unknown hardware profile 'bench'; there is {', '.join(sorted(REGISTRY.hardware))}",
        "build.toml:13: unknown key 'schema'; did you mean 'scheme'?",
        "build.toml:14: 'default' must be true or false, not a string ('no')",
    ]


def test_types_that_are_wrong_are_told_of_every_source_target_and_list() -> None:
    text = """[project]
name = "a"
version = "1"
[source.one]
url = "x"
[source.two]
uri = 2
[target.one]
scheme = 4
[target.two]
scheme = 5
inputs = { text = 6, imatrix = 7 }
[policy]
licenses = [
    8,
    9,
]
"""
    assert faults(text) == [
        "build.toml:4: 'uri' is missing",
        "build.toml:5: unknown key 'url'; did you mean 'uri'?",
        "build.toml:7: 'uri' must be a string, not a whole number (2)",
        "build.toml:9: 'scheme' must be a string, not a whole number (4)",
        "build.toml:11: 'scheme' must be a string, not a whole number (5)",
        "build.toml:12: 'imatrix' must be a string, not a whole number (7)",
        "build.toml:12: 'text' must be a string, not a whole number (6)",
        "build.toml:14: 'licenses' must be a string, not a whole number (8)",
        "build.toml:14: 'licenses' must be a string, not a whole number (9)",
    ]


def test_what_a_target_lacks_is_told_at_its_table() -> None:
    text = '[project]\nname = "a"\nversion = "1"\n[source.b]\nuri = "x"\n\n[target.t]\nsource = "b"\n'
    assert faults(text) == [
        "build.toml:7: target 't' has no 'format', and [defaults] has none",
        "build.toml:7: target 't' has no 'hardware', and [defaults] has none",
        "build.toml:7: target 't' has no 'scheme', and [defaults] has none",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [("[project\nname = 1", 1), ('[project]\nname = "a"\nname = "b"\n', 3), ("a = [1,\n", 2), ("x = 1\n\ny = \n", 3)],
)
def test_a_syntax_error_is_told_with_its_line(text: str, line: int) -> None:
    (fault,) = faults(text)
    assert fault.startswith(f"build.toml:{line}: not valid TOML: ")


def test_unknown_names_that_plugins_know_are_told_together(mill: Mill) -> None:
    text = BUILD.replace('hardware = "bench"', 'hardware = "bensh"')
    text = text.replace('scheme = "tiny"', 'scheme = "tinny"').replace('uri = "words"', 'uri = "paht:words"')
    mill.write(text)
    done = mill.run("plan")
    assert done.code == 2
    lines = done.err.splitlines()
    assert any("unknown kind of source 'paht'; did you mean 'path'?" in line for line in lines)
    assert any("format 'loud' has no scheme 'tinny'; did you mean 'tiny'? It has " in line for line in lines)
    assert sum("unknown hardware profile 'bensh'; did you mean 'bench'?" in line for line in lines) == 1
    assert all(line.startswith("modelmill: build.toml:") for line in lines)


def test_options_that_no_step_has_or_that_are_wrong_are_told(mill: Mill) -> None:
    mill.write(BUILD.replace('scheme = "short"', 'scheme = "short"\noptions = { lenght = 1 }'))
    assert "no step has an option 'lenght'; did you mean 'length'?" in mill.run("plan").err
    mill.write(BUILD.replace('scheme = "short"', 'scheme = "short"\noptions = { length = "1" }'))
    assert "'length' must be a whole number, not a string ('1')" in mill.run("plan").err


def test_a_refusal_names_target_and_reason_before_any_work(mill: Mill) -> None:
    mill.write(BUILD.replace('scheme = "upper"', 'scheme = "upper"\noptions = { repeat = 101 }'))
    done = mill.run("build")
    assert (done.code, done.err) == (2, "modelmill: target 'plain': nobody listens to a hundred repetitions\n")
    assert not (mill.folder / "dist").exists()


def test_a_build_file_that_is_not_there_is_one_sentence(mill: Mill) -> None:
    done = mill.run("build")
    assert done.code == 2
    assert done.err.startswith("modelmill: build.toml: no such file")


def test_unknown_names_are_told_with_mistakes_of_other_kinds(mill: Mill) -> None:
    text = """[project]
name = "Words"
version = "1.0"
colour = "red"
[source.base]
uri = "paht:words"
[source.other]
uri = 3
format = "lowd"
[defaults]
hardware = "bensh"
scheme = "tinny"
[target.one]
source = "bass"
format = "loud"
[target.two]
source = "base"
hardware = 3
format = "loud"
scheme = 4
"""
    mill.write(text)
    done = mill.run("plan")
    assert done.code == 2
    told = [line.removeprefix("modelmill: build.toml:").partition(";")[0] for line in done.err.splitlines()]
    assert told == [
        "2: 'Words' is not a name: lower-case letters, digits, '.', '_' and '-' only",
        "4: unknown key 'colour'",
        "6: unknown kind of source 'paht'",
        "8: 'uri' must be a string, not a whole number (3)",
        "11: unknown hardware profile 'bensh'",
        "12: format 'loud' has no scheme 'tinny'",
        "14: unknown source 'bass'",
        "18: 'hardware' must be a string, not a whole number (3)",
        "20: 'scheme' must be a string, not a whole number (4)",
    ]


def test_an_empty_word_is_one_that_a_target_lacks() -> None:
    text = '[project]\nname = "a"\nversion = "1"\n[source.b]\nuri = "x"\n[target.t]\nsource = "b"\nscheme = "F16"\n'
    assert faults(text + 'hardware = ""\nformat = "gguf"\n') == [
        "build.toml:6: target 't' has no 'hardware', and [defaults] has none"
    ]


def test_a_licence_that_the_policy_does_not_allow_is_refused_before_any_work(mill: Mill) -> None:
    mill.write(
        BUILD.replace('uri = "words"', 'uri = "words"\nlicense = "CC-BY-NC-4.0"') + '\n[policy]\nlicenses = ["MIT"]\n'
    )
    done = mill.run("build")
    assert done.code == 2
    assert "source 'base', licence: the policy does not allow the licence 'CC-BY-NC-4.0'; it allows MIT" in done.err


def test_keys_in_inline_tables_and_after_multi_line_values_have_their_lines() -> None:
    text = 'a = """\n[not.a.table]\nb = 1\n"""\n[t]\nlist = [\n  1,\n]\nc = { d = 1, e = "x = 2" }\n'
    lines = locate(text)
    assert lines["t",] == 5
    assert lines["t", "c"] == 9
    assert lines["t", "c", "d"] == 9
    assert ("not",) not in lines
    assert ("t", "c", "x") not in lines


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet='[]{}=."\n#ab1, ', max_size=120))
def test_any_text_is_a_build_or_a_config_error(text: str) -> None:
    try:
        parse(text, Path("build.toml"), REGISTRY)
    except ConfigError as error:
        assert str(error).startswith("build.toml:")  # noqa: PT017 - either outcome is fine


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("Apache 2.0", "is not an SPDX expression: '2.0' is one word too many; did you mean 'Apache-2.0'?"),
        ("MIT OR", "is not an SPDX expression: a licence is missing; write one such as "),
        ("Apache-2", "is not on SPDX's list; did you mean 'Apache-2.0'? A licence that is not there is written"),
        ("MIT OR (Apache-2)", "'Apache-2' is not on SPDX's list; did you mean 'Apache-2.0'?"),
        ("ours", "is not on SPDX's list; a licence that is not there is written LicenseRef-NAME"),
    ],
)
def test_a_licence_that_is_wrong_is_told_where_it_stands(stated: str, said: str) -> None:
    text = BUILD.replace('license = "MIT"', f'license = "{stated}"')
    fault = faults(text)[0]
    assert fault.startswith("build.toml:5: licence ")
    assert said in fault
    fault = faults(BUILD.replace('uri = "words"', f'uri = "words"\nlicense = "{stated}"'))[0]
    assert fault.startswith("build.toml:9: licence ")


@pytest.mark.parametrize(
    "stated",
    [
        "apache-2.0",
        "llama3.2",
        "LicenseRef-Ours",
        "LicenseRef-Gemma",
        "GPL-2.0+ WITH Classpath-exception-2.0 OR (MIT AND gemma)",
    ],
)
def test_a_licence_of_spdx_or_of_a_model_or_of_ones_own_is_right(stated: str) -> None:
    assert parse(BUILD.replace('license = "MIT"', f'license = "{stated}"'), Path("build.toml"), REGISTRY)


def test_a_plan_tells_of_a_key_that_is_not_there(mill: Mill) -> None:
    text = BUILD.replace('mode = "none"', 'key = "keys/release.pem"')
    mill.write(text)
    (warning,) = [line for line in mill.run("plan", "plain").err.splitlines() if "key" in line]
    assert warning.startswith("modelmill: warning: build.toml: [sign] key 'keys/release.pem' is not there")
    assert "`modelmill keys new " in warning
    assert mill.run("keys", "new", "keys/release.pem").code == 0
    assert "key" not in mill.run("plan", "plain").err


def test_recipes_that_cannot_be_read_are_told_together_in_words_with_their_lines(mill: Mill) -> None:
    text = BUILD
    files = {"plain": "recipes/none.toml", "short": "latin.toml", "tiny": "broken.toml"}
    for target, file in files.items():
        text = text.replace(f"[target.{target}]\n", f'[target.{target}]\noptions = {{ recipe = "{file}" }}\n')
    mill.write(text)
    mill.write("[rules\n", "broken.toml")
    (mill.folder / "latin.toml").write_bytes(b'name = "\xe9"\n')
    done = mill.run("plan")
    assert done.code == 2
    told = [line.removeprefix("modelmill: build.toml:") for line in done.err.splitlines()]
    assert told[:2] == [
        "17: option 'recipe' names recipes/none.toml, which cannot be read (No such file or directory)",
        "21: option 'recipe' names latin.toml, which is not UTF-8 text; save the file as UTF-8",
    ]
    assert told[2].startswith("25: option 'recipe' names broken.toml, which is not valid TOML: Expected ']'")
    assert len(told) == 3


def test_a_recipe_of_the_defaults_that_is_not_there_is_told_once(mill: Mill) -> None:
    mill.write(BUILD.replace('format = "loud"', 'format = "loud"\noptions = { recipe = "none.toml" }'))
    told = "build.toml:15: option 'recipe' names none.toml, which cannot be read (No such file or directory)"
    assert mill.run("plan").err == f"modelmill: {told}\n"
