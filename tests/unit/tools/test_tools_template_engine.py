"""template-engine: what templates give, and that hostile ones reach nothing and end."""

import contextlib
import time

import pytest
from pure_tools import make, run_cases

from llmspell.base.templates import TemplateError, render
from llmspell.errors import LLMSpellError

CONTEXT = {"name": "Ann", "l": [1, 2], "m": {"k": "v", "items": [3]}, "h": "<b>", "t": True, "n": None}

HOSTILE = [
    "{{ ''.__class__.__mro__ }}",
    "{{ name['__class__'] }}",
    "{{ name|attr('__class__') }}",
    "{{ [].append(1) }}",
    "{{ l.append(1) }}",
    "{{ name.upper() }}",
    "{{ name.format(1) }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ joiner.__init__ }}",
    "{{ namespace.__init__ }}",
    "{{ range.__class__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ config }}{{ request }}{{ url_for }}",
    "{% include '/etc/passwd' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% from 'x' import y %}",
    "{{ ().__class__.__bases__[0].__subclasses__() }}",
    "{{ m.__class__ }}",
    "{{ m.keys() }}",
    "{{ m.get('k') }}",
    "{% for x in m.items() %}{% endfor %}",
    "{{ dict.mro() }}",
    "{{ dict(a=1).update }}",
    "{{ loop.__class__ }}",
    "{{ environment }}",
    "{% macro x() %}{% endmacro %}{{ x._func }}{{ x._environment }}",
    "{{ '%s'|format(1) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ name|map(attribute='__class__')|list }}",
    "{{ [m]|map(attribute='__class__.__mro__')|first }}",
    "{{ [m]|groupby('__class__') }}",
    "{{ name.upper }}",
    "{{ [name]|map('attr', '__class__')|list }}",
    "{{ range }}{{ [joiner(), cycler(1)] }}{{ l|map('upper') }}",
    "{{ name|string.__class__ }}",
    "{{ cycler(1).items.__class__ }}",
    "{{ x.__class__ }}",
]
ENDLESS = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for a in range(100000) %}{% for b in range(100000) %}{% if a == b %}{% endif %}{% endfor %}{% endfor %}",
    "{% set x %}{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxx{% endfor %}{% endfor %}{% endset %}",
    "{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{{ 'x' * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 'x'|center(1000000000) }}",
    "{{ range(1000000000) }}",
    "{{ [0] * 1000000000 }}",
    "{% set s = 'x' * 1000000 %}" + "{% set s = s ~ s ~ s ~ s %}" * 2,
    "{{ 'x'|indent(999999999, true) }}",
    "{{ ('x' * 100000)|replace('x', 'y' * 100000) }}",
    "{{ range(100000)|join('x' * 100000) }}",
    "{{ m|tojson(indent=999999999) }}",
    "{{ 1|round(999999999) }}",
    "{% set x = namespace(s='x') %}{% for i in range(60) %}{% set x.s = x.s ~ x.s %}{% endfor %}",
    "{% set x = namespace(s=9) %}{% for i in range(60) %}{% set x.s = x.s * x.s %}{% endfor %}",
    "(" * 10,
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "{{ " + "1+" * 5000 + "1 }}",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
]


async def test_the_self_tests_pass(tmp_path):
    assert await run_cases(tmp_path, "template-engine") == []


@pytest.mark.parametrize("source", HOSTILE)
def test_a_hostile_template_reaches_nothing(source):
    try:
        text = render(source, CONTEXT, "jinja", limit_s=1.0)
    except (TemplateError, LLMSpellError):
        return
    for leak in ("class", "object", "built-in", "function", "method", "0x", "root:", "mro"):
        assert leak not in text


@pytest.mark.parametrize("source", ENDLESS)
def test_an_endless_or_huge_template_ends(source):
    start = time.monotonic()
    with contextlib.suppress(TemplateError, LLMSpellError):
        assert len(render(source, CONTEXT, "jinja", limit_s=0.3)) <= 10_000_000
    assert time.monotonic() - start < 4


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ m.k }}{{ m['k'] }}{{ l[0] }}{{ m.items[0] }}{{ zz.yy }}", "vv13"),
        ("{% for k, v in m|items %}{{ k }}{% endfor %}", "kitems"),
        ("{% for i in l %}{{ loop.index }}{{ loop.cycle('a', 'b') }}{% endfor %}", "1a2b"),
        ("{% macro hi(x) %}<{{ x }}>{% endmacro %}{{ hi(name) }}", "<Ann>"),
        ("{{ name|upper ~ 1 ~ 'x' }}{{ l|join('-') }}{{ 2 * 3 + 4 ** 2 // 3 }}", "ANN1x1-211"),
        ("{% set ns = namespace(n=0) %}{% for i in l %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3"),
        ("{{ name|replace('n', 'm') }}{{ range(3)|list }}{{ {'a': 1}|tojson }}", 'Amm[0, 1, 2]{"a": 1}'),
        ("{% if t and not n %}y{% else %}z{% endif %}{{ n|default('d', true) }}", "yd"),
    ],
)
def test_jinja_gives(source, expected):
    assert render(source, CONTEXT, "jinja") == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{name}} {{{h}}} {{h}} {{&h}}{{! c }}{{!-- }} --}}", "Ann <b> &lt;b&gt; <b>"),
        ("{{#if t}}a{{else}}b{{/if}}{{#if zz}}a{{else}}b{{/if}}{{#unless t}}c{{/unless}}", "ab"),
        ("{{#if zz}}a{{else if t}}b{{else}}c{{/if}}", "b"),
        ("{{#each l}}{{@index}}{{this}}{{../name}},{{/each}}", "01Ann,12Ann,"),
        ("{{#each m}}{{@key}};{{/each}}{{#each zz}}x{{else}}none{{/each}}", "k;items;none"),
        ("{{#with m}}{{k}}{{/with}}{{m.k}}{{l.[1]}}", "vv2"),
        ("{{uppercase name}}{{lowercase 'ABC'}}{{#if (eq name 'Ann')}}same{{/if}}", "ANNabcsame"),
        ("{{{json m}}}", '{"items":[3],"k":"v"}'),
        ("{{#each l}}{{#if @last}}!{{/if}}{{/each}}{{this.name}}{{@root.name}}", "!AnnAnn"),
        ("{{name.__class__}}{{l.append}}{{constructor}}", ""),
    ],
)
def test_handlebars_gives(source, expected):
    assert render(source, CONTEXT, "handlebars", autoescape=True) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{{#if x}}",
        "{{/if}}",
        "{{#if x}}{{/each}}",
        "{{> p}}",
        "{{a b c}}",
        "{{eq 1}}",
        "{{#each}}{{/each}}",
        "{{#if a}}" * 100 + "{{/if}}" * 100,
    ],
)
def test_bad_handlebars_is_refused(source):
    with pytest.raises(TemplateError):
        render(source, {}, "handlebars")


def test_handlebars_in_nested_loops_ends():
    nest = "{{#each l}}" * 12 + "{{/each}}" * 12
    with pytest.raises(LLMSpellError):
        render(nest, {"l": list(range(50))}, "handlebars", limit_s=0.3)
    nest = "{{#each @root.l}}" * 12 + "{{/each}}" * 12
    with pytest.raises(LLMSpellError):
        render(nest, {"l": list(range(50))}, "handlebars", limit_s=0.3)


@pytest.mark.parametrize("source", [line for line in HOSTILE if "__" in line])
def test_a_reach_for_internals_is_refused_and_not_passed_over(source):
    with pytest.raises(TemplateError):
        render(source, CONTEXT, "jinja")


async def test_escaping_strictness_and_validation(tmp_path):
    call = make(tmp_path).call
    html = await call("template", {"template": "<p>{{ h }}</p>", "variables": {"h": "<b>"}})
    assert html["text"] == "<p>&lt;b&gt;</p>"
    plain = await call("template", {"input": "{{ h }}", "context": {"h": "<b>"}, "engine": "tera"})
    assert (plain["text"], plain["result"]["engine"]) == ("<b>", "tera")
    missing = await call("template", {"input": "{{ zz }}", "strict": True})
    assert missing["error"]["code"] == "undefined_variable"
    assert (await call("template", {"input": "{{#if zz}}{{yy}}{{/if}}{{yy}}", "strict": True}))["error"][
        "code"
    ] == "undefined_variable"
    bad = await call("template", {"input": "a\n{% if %}"})
    assert bad["error"]["details"]["line"] == 2
    checked = await call("template", {"operation": "validate", "input": "a\n{% if %}"})
    assert (checked["result"]["valid"], checked["result"]["line"]) == (False, 2)
    assert (await call("template", {"input": "{{ x", "engine": "plain"}))["text"] == "{{ x"
