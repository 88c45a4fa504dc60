import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill import ConvertError
from modelmill.checkpoint import check_chat_template

GOOD = [
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message.content }}{% endfor %}",
    "{%- set ns = namespace(found=false, last=-1) -%}{%- for m in x -%}{%- set ns.found = true -%}{%- endfor -%}",
    "{% if not tools is defined %}{{ raise_exception('no tools') }}{% endif %}{{ strftime_now('%d %b %Y') }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | tojson(indent=4) }}{{ '%.2f' | format(1.5) }}",
    "{% for m in x %}{% generation %}{{ m.content.lstrip('\n') }}{% endgeneration %}{% break %}{% endfor %}",
    "{% macro render(tool) %}{{ tool.name }}{% endmacro %}{{ render(tools[0]) }}{{ messages[1:] }}",
    "plain text that says __class__ and {{ '__end__' }}",
]


@pytest.mark.parametrize("template", GOOD)
def test_templates_that_format_messages_pass(template: str) -> None:
    check_chat_template(template)


BAD = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner() }}",
    "{{ lipsum.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ namespace.init }}",
    "{{ self.__init__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''['__cla' + 'ss__'] }}",
    "{{ ''['__cla' ~ 'ss__'] }}",
    "{{ ''['%s' % '__class__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ '' | attr(name) }}",
    "{{ [''] | map('attr', '__class__') | list }}",
    "{{ [''] | map(attribute='__class__') | list }}",
    "{{ [''] | groupby('__class__') }}",
    "{{ [''] | selectattr('__class__.__base__') }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ ('{0.__cl' + 'ass__}').format('') }}",
    "{{ messages.format_map(messages) }}",
    "{{ f.gi_frame }}",
    "{% include '/etc/passwd' %}",
    "{% import 'x' as y %}",
    "{% extends 'base' %}",
    "{% generation %}{{ x.__class__ }}{% endgeneration %}",
    "{% set x = y.__globals__ %}",
    "{{ caller(**{'a': x.__class__}) }}",
]


@pytest.mark.parametrize("template", BAD)
def test_templates_that_reach_for_more_are_refused_in_one_sentence(template: str) -> None:
    with pytest.raises(ConvertError, match="a chat template may only format messages") as caught:
        check_chat_template(template, "tokenizer_config.json: chat_template")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("tokenizer_config.json: chat_template: line 1 ")


@pytest.mark.parametrize(
    "template", ["{% for %}", "{{", "{% endif %}", "{{ " + "(" * 5000, "{{ " + "-" * 50_000 + "1 }}", "a" * 2**21]
)
def test_what_is_no_template_is_refused(template: str) -> None:
    with pytest.raises(ConvertError, match="the chat template: "):
        check_chat_template(template)


@given(
    template=st.lists(
        st.sampled_from(
            ["{{", "}}", "{%", "%}", " ", "if", "for", "x", "in", "'", "|", "(", ".", "[", "__a", "1", "\n"]
        ),
        max_size=25,
    ).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_nothing_but_convert_error_comes_out(template: str) -> None:
    try:
        check_chat_template(template)
    except ConvertError as error:
        assert "\n" not in str(error)  # noqa: PT017 - any other exception must fly
