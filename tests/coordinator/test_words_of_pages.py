"""What pages say around their facts: where nothing is yet, to whom they speak, and what can be done next."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from fedcore.coordinator.governance import decisions
from fedcore.coordinator.governance.templatetags.words import in_fours, with_commands


def text_of(client, model, key=None, **query):
    kind, arguments = ("change", (key,)) if key else ("changelist", ())
    address = reverse(f"admin:governance_{model}_{kind}", args=arguments)
    return client.get(address, query).content.decode()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("accessrequest", "Scientists ask with the command <code>fedcore request</code>"),
        ("grant", "A grant comes of an access request"),
        ("notice", "is told here"),
        ("personkey", "The command <code>fedcore login</code> makes"),
    ],
)
def test_an_empty_list_says_whence_its_rows_come(cast, browser, model, said):
    text = text_of(browser(cast.paul), model)
    assert said in text
    assert " yet." in text


def test_a_search_without_result_is_not_called_an_empty_list(cast, browser, asked):
    text = text_of(browser(cast.olga), "accessrequest", q="nothing of the kind")
    assert "Nothing is found." in text
    assert "Show everything" in text
    assert "Scientists ask with" not in text


def test_the_page_of_a_request_speaks_to_its_owner_and_tells_others_so(cast, browser, asked):
    decisions.approve(asked, cast.olga)
    for_olga, for_sam = (text_of(browser(who), "accessrequest", asked.pk) for who in (cast.olga, cast.sam))
    assert "At your host:" in for_olga
    assert "At the owner&#x27;s host:" in for_sam or "At the owner's host:" in for_sam
    assert "This is what data owners of" in for_sam
    assert "This is what data owners of" not in for_olga


def test_the_decisions_stand_at_the_end_of_what_is_to_be_read(cast, browser, asked):
    text = text_of(browser(cast.olga), "accessrequest", asked.pk)
    after = text[text.index('id="irrevocable"') :]
    for decision in ("approve", "ask", "refuse"):
        assert reverse(f"admin:governance_accessrequest_{decision}", args=(asked.pk,)) in after
    assert 'id="decide"' not in text_of(browser(cast.ada), "accessrequest", asked.pk)


@pytest.mark.parametrize(("who", "is_told"), [("sam", True), ("olga", False)])
def test_a_dataset_tells_scientists_how_to_ask_for_it(cast, browser, who, is_told):
    text = text_of(browser(cast[who]), "dataset", cast.dataset.pk)
    assert ("fedcore request PLAN --dataset north/access-2026" in text) == is_told


def test_commands_in_texts_are_shown_as_code_and_the_rest_is_escaped():
    assert with_commands("<b> run `a < b`") == "&lt;b&gt; run <code>a &lt; b</code>"
    assert with_commands("one ` alone") == "one ` alone"
    marked = mark_safe("<code>x</code>")
    assert with_commands(marked) == marked
    assert isinstance(with_commands("x"), SafeString)


def test_a_secret_is_shown_in_groups_of_four():
    assert in_fours("ABCDEFGH23") == "ABCD EFGH 23"
