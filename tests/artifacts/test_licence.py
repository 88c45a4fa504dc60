import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmill_artifacts import licence
from modelmill_artifacts.errors import ArtifactError
from modelmill_artifacts.policy import check_licence


@pytest.mark.parametrize(
    ("stated", "expression"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("MIT", "MIT"),
        ("bsd-3-clause", "BSD-3-Clause"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("mit or apache-2.0", "MIT OR Apache-2.0"),
        ("(MIT OR ISC) AND 0BSD", "(MIT OR ISC) AND 0BSD"),
        ("MIT OR ISC AND 0BSD", "MIT OR ISC AND 0BSD"),
        ("GPL-2.0+ WITH classpath-exception-2.0", "GPL-2.0+ WITH Classpath-exception-2.0"),
        ("llama3.2", "LicenseRef-Llama-3.2"),
        ("licenseref-llama-3.2", "LicenseRef-Llama-3.2"),
        ("gemma", "LicenseRef-Gemma"),
        ("LicenseRef-Ours", "LicenseRef-Ours"),
        ("deepseek", "LicenseRef-deepseek"),
    ],
)
def test_a_stated_licence_becomes_an_spdx_expression(stated: str, expression: str) -> None:
    assert licence.normalise(stated) == expression
    assert licence.normalise(expression) == expression


@pytest.mark.parametrize(
    ("stated", "expression"),
    [
        ((), None),
        (("mit",), "MIT"),
        (("mit", "MIT"), "MIT"),
        (("apache-2.0", "gemma"), "Apache-2.0 AND LicenseRef-Gemma"),
        (("MIT OR ISC", "0BSD"), "(MIT OR ISC) AND 0BSD"),
    ],
)
def test_what_is_under_several_licences_is_under_all_of_them(stated: tuple[str, ...], expression: str | None) -> None:
    assert licence.all_of(stated) == expression


@pytest.mark.parametrize(
    "stated", ["", "MIT OR", "AND MIT", "MIT ISC", "(MIT", "MIT)", "MIT WITH", "MIT & ISC", "()", "a/b"]
)
def test_what_is_no_expression_is_refused(stated: str) -> None:
    with pytest.raises(ArtifactError, match="is not an SPDX expression"):
        licence.normalise(stated)


@given(
    st.recursive(
        st.sampled_from(["MIT", "Apache-2.0", "GPL-2.0-only WITH Classpath-exception-2.0", "LicenseRef-Gemma"]),
        lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        max_leaves=8,
    ),
    st.sets(st.sampled_from(["MIT", "Apache-2.0", "GPL-2.0-only", "LicenseRef-Gemma"])),
)
def test_an_expression_is_allowed_as_boolean_logic_says(expression: str, allow: set[str]) -> None:
    """Python's own and/or, with the same precedence, is the other implementation."""
    text = expression.replace(" WITH Classpath-exception-2.0", "")
    for name in ("Apache-2.0", "GPL-2.0-only", "LicenseRef-Gemma", "MIT"):
        text = text.replace(name, str(name in allow))
    wanted = eval(text.replace("AND", "and").replace("OR", "or"))  # noqa: S307
    assert licence.allowed(expression, allow) is wanted
    assert licence.allowed(licence.normalise(expression), allow) is wanted


@pytest.mark.parametrize(
    ("expression", "allow", "deny", "passes"),
    [
        ("MIT", None, (), True),
        ("MIT", (), (), False),
        ("MIT", None, ("mit",), False),
        ("MIT OR GPL-3.0-only", None, ("GPL-3.0-only",), True),
        ("MIT AND GPL-3.0-only", None, ("GPL-3.0-only",), False),
        ("llama3.2", ("LicenseRef-Llama-3.2",), (), True),
        ("LicenseRef-Llama-3.2", ("llama3.2",), (), True),
        ("LicenseRef-Llama-3.2", ("llama3.1",), (), False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ("GPL-2.0-only WITH Classpath-exception-2.0",), (), True),
        ("GPL-2.0-only", ("GPL-2.0-only WITH Classpath-exception-2.0",), (), False),
    ],
)
def test_the_gate_allows_and_denies(
    expression: str, allow: tuple[str, ...] | None, deny: tuple[str, ...], *, passes: bool
) -> None:
    assert licence.allowed(expression, allow, deny) is passes


def test_no_stated_licence_passes_only_where_all_do() -> None:
    check_licence(None, None)
    with pytest.raises(ArtifactError, match="states no licence, and the policy allows only MIT"):
        check_licence(None, ("MIT",))


def test_obligations_are_those_of_the_licences_in_the_expression() -> None:
    assert licence.obligations("Apache-2.0") == ()
    llama = licence.obligations("Apache-2.0 AND llama3.2")
    assert any("Built with Llama" in item for item in llama)
    assert any("Llama 3.2 is licensed under the Llama 3.2 Community License" in item for item in llama)
    assert not any("Built with Llama" in item for item in licence.obligations("llama2"))
    assert any("Gemma Terms of Use" in item for item in licence.obligations("gemma"))


def test_the_list_of_identifiers_is_that_of_spdx() -> None:
    schema = pytest.importorskip("cyclonedx.schema._res")
    import json
    from pathlib import Path

    (path,) = Path(schema.__path__[0]).glob("spdx*.schema.json")
    assert set(json.loads(path.read_text())["enum"]) >= set(licence.identifiers().values())
