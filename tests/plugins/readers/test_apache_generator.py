import re
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from functools import cache, lru_cache
from itertools import pairwise
from urllib.parse import unquote_plus

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from plugins.readers.apache.generator import ATTACK_KINDS, BENIGN, DEFAULT_KINDS, SITES, generate
from plugins.readers.apache.generator_grammar import Alternatives, Draw, Grammar

LINE = re.compile(
    r"(?P<address>\S+) - (?P<user>\S+) \[(?P<time>[^]]+)\] "
    r'"(?P<method>[A-Z]+) (?P<target>[^\s"\\]+) HTTP/1\.1" '
    r'(?P<status>\d{3}) (?P<size>\d+|-) "(?P<referrer>[^"\\]+)" "(?P<agent>[^"\\]+)" "(?P<label>[a-z_]+|-)"'
)
KNOWN_STATUSES = {"200", "301", "302", "304", "400", "403", "404", "500"}


@cache
def lines(rows: int, seed: int, share: float, site: str = "shop") -> list[str]:
    return list(generate(rows, seed, attack_share=share, site=site))


def fields(line: str) -> dict[str, str]:
    match = LINE.fullmatch(line)
    assert match is not None, line
    return match.groupdict()


def is_attack(rows: Iterable[str]) -> npt.NDArray[np.bool_]:
    return np.array([not line.endswith(' "-"') for line in rows])


def spellings(text: str) -> tuple[str, ...]:
    once = unquote_plus(text)
    return text.lower(), once.lower(), unquote_plus(once).lower(), text


@lru_cache(maxsize=100_000)
def tokens(text: str) -> frozenset[str]:
    """Every word and every character of the text as it is, decoded once and decoded twice."""
    found: set[str] = set()
    for spelling in set(spellings(text)):
        found.update(re.split(r"[\W_]+", spelling))
        found.update(spelling)
    return frozenset(found)


def best_rule(texts: list[list[str]], attack: npt.NDArray[np.bool_]) -> tuple[float, str]:
    """The best F1 of all rules `token present` and `token absent` over texts in parts, and that rule."""
    everywhere: Counter[str] = Counter()
    in_attacks: Counter[str] = Counter()
    for text, bad in zip(texts, attack, strict=True):
        found = frozenset[str]().union(*map(tokens, text))
        everywhere.update(found)
        if bad:
            in_attacks.update(found)
    bad_rows, rows = int(attack.sum()), len(texts)
    scores = []
    for token, count in everywhere.items():
        hits = in_attacks[token]
        scores.append((2 * hits / (count + bad_rows), f"{token!r} present"))
        scores.append((2 * (bad_rows - hits) / (rows - count + bad_rows), f"{token!r} absent"))
    return max(scores)


def regression(vectorizer: HashingVectorizer, share: float, seed: int) -> tuple[float, float]:
    """F1 and AUC on 20,000 new rows of a logistic regression trained on 20,000 rows."""
    rows = lines(40_000, seed, share)
    texts = [spellings(fields(line)["target"])[2] for line in rows]
    attack = is_attack(rows)
    columns = vectorizer.transform(texts)
    model = LogisticRegression(C=100.0, max_iter=2_000).fit(columns[:20_000], attack[:20_000])
    scores = model.predict_proba(columns[20_000:])[:, 1]
    truth = attack[20_000:]
    return float(f1_score(truth, scores > 0.5)), float(roc_auc_score(truth, scores))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first = "\n".join(generate(3_000, 5)).encode()
    assert first == "\n".join(generate(3_000, 5)).encode()
    assert first != "\n".join(generate(3_000, 6)).encode()


def test_fewer_rows_are_the_beginning_of_more_rows() -> None:
    assert list(generate(2_500, 8))[:700] == list(generate(700, 8))


@pytest.mark.parametrize("rows", [0, 1, 1_024, 1_025])
def test_as_many_lines_come_as_were_asked_for(rows: int) -> None:
    assert len(list(generate(rows, 1))) == rows


@pytest.mark.parametrize("site", list(SITES))
def test_every_line_is_combined_log_format_with_a_label(site: str) -> None:
    parsed = [fields(line) for line in lines(6_000, 3, 0.2, site)]
    assert {row["label"] for row in parsed} == {BENIGN, *ATTACK_KINDS}
    assert {row["status"] for row in parsed} == KNOWN_STATUSES
    assert {"GET", "POST"} <= {row["method"] for row in parsed}
    assert all(line.isascii() and line.isprintable() for line in lines(6_000, 3, 0.2, site))


@pytest.mark.parametrize("site", list(SITES))
def test_addresses_and_hosts_are_reserved_ones(site: str) -> None:
    own = r"(10\.\d+\.\d+|192\.0\.2|198\.51\.100|203\.0\.113)\.\d+"
    reserved = re.compile(rf"(([\w-]+\.)*(example\.(com|org|net|com-\w+\.test)|[\w-]+\.test)|{own})")
    for line in lines(6_000, 3, 0.2, site):
        row = fields(line)
        assert re.fullmatch(own, row["address"])
        for spelling in (row["referrer"], unquote_plus(unquote_plus(row["target"])).lower()):
            for host in re.findall(
                r"(?:https?|ftp)://(?:[^\s/@:?'\"]*@)?([^\s/:@?'\"`;|&)<>\\#,=]+)", spelling
            ):
                assert reserved.fullmatch(host), (host, line)


def test_times_never_go_back_and_begin_at_the_start() -> None:
    start = datetime(2025, 12, 31, 23, 58, tzinfo=timezone(timedelta(hours=2)))
    stamps = [fields(line)["time"] for line in generate(3_000, 2, start=start)]
    assert stamps[0] == "31/Dec/2025:23:58:00 +0200"
    times = [datetime.strptime(stamp, "%d/%b/%Y:%H:%M:%S %z") for stamp in stamps]
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert times[-1] > times[0]


@pytest.mark.parametrize("share", [0.0, 0.04, 0.2, 1.0])
def test_the_share_of_attacks_is_the_one_asked_for(share: float) -> None:
    assert is_attack(generate(10_240, 4, attack_share=share)).mean() == pytest.approx(share, abs=2e-4)


def test_kinds_come_in_the_proportions_asked_for() -> None:
    rows = generate(40_960, 4, attack_share=0.2, kinds={"xss": 3, "rfi": 1})
    counts = Counter(fields(line)["label"] for line in rows)
    assert set(counts) == {BENIGN, "xss", "rfi"}
    assert counts["xss"] / (counts["xss"] + counts["rfi"]) == pytest.approx(0.75, abs=0.03)


def test_the_default_kinds_come_in_their_documented_proportions() -> None:
    counts = Counter(fields(line)["label"] for line in lines(40_960, 4, 0.2))
    attacks = sum(counts[kind] for kind in ATTACK_KINDS)
    assert {kind: counts[kind] / attacks for kind in ATTACK_KINDS} == pytest.approx(DEFAULT_KINDS, abs=0.02)


def test_a_log_of_floods_alone_keeps_its_share() -> None:
    rows = list(generate(10_240, 4, attack_share=0.5, kinds={"flood": 1}))
    assert Counter(fields(line)["label"] for line in rows) == {"flood": 5_120, BENIGN: 5_120}


def test_floods_are_bursts_from_few_addresses() -> None:
    floods = [(at, fields(line)) for at, line in enumerate(lines(40_000, 1, 0.04)) if '"flood"' in line]
    blocks: dict[int, set[str]] = {}
    for at, row in floods:
        blocks.setdefault(at // 1_024, set()).add(row["address"])
    assert len(floods) >= 3 * len(blocks)
    assert all(len(addresses) <= 4 for addresses in blocks.values())


@pytest.mark.parametrize("kind", [kind for kind in ATTACK_KINDS if kind != "flood"])
def test_attacks_fail_and_succeed_by_get_and_post_from_tools_and_browsers(kind: str) -> None:
    rows = [fields(line) for line in generate(1_024, 9, attack_share=1.0, kinds={kind: 1})]
    assert {"200", "403", "404", "500"} <= {row["status"] for row in rows}
    assert {"GET", "POST"} <= {row["method"] for row in rows}
    browsers = sum("AppleWebKit" in row["agent"] or "Gecko/" in row["agent"] for row in rows)
    assert 0.2 < browsers / len(rows) < 0.95


def test_visitors_come_back_and_their_referrers_are_pages_they_saw() -> None:
    rows = [fields(line) for line in lines(6_000, 3, 0.0)]
    seen: dict[tuple[str, str], set[str]] = {}
    followed = 0
    for row in rows:
        pages = seen.setdefault((row["address"], row["agent"]), set())
        followed += row["referrer"] in pages
        pages.add(f"https://{SITES['shop'].host}{row['target']}")
    assert followed > len(rows) / 3
    assert {"anna", "m.obrien"} <= {row["user"] for row in rows}


def test_two_sites_overlap_without_being_equal() -> None:
    shop, bank = (
        {fields(line)["target"].split("?")[0] for line in lines(6_000, 3, 0.0, site)}
        for site in ("shop", "bank")
    )
    assert {"/search", "/login", "/redirect"} <= shop & bank
    assert "/transfer" in bank - shop
    assert "/cart/add" in shop - bank


@pytest.mark.parametrize(
    "phrase", ["union select", "<script", "../", "o'brien", "https://", "etc/", "--", "or 1=1"]
)
def test_benign_requests_look_dangerous_too(phrase: str) -> None:
    decoded = [spellings(fields(line)["target"])[2] for line in lines(30_000, 1, 0.0)]
    assert sum(phrase in text for text in decoded) >= 3


@pytest.mark.parametrize("share", [0.04, 0.2])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_single_token_tells_attacks_from_benign_requests(seed: int, share: float) -> None:
    rows = lines(30_000, seed, share)
    attack = is_attack(rows)
    parsed = [fields(line) for line in rows]
    for names in (
        ("target",),
        ("address", "user", "method", "target", "status", "size", "referrer", "agent"),
    ):
        score, rule = best_rule([[row[name] for name in names] for row in parsed], attack)
        assert score <= 0.8, rule


@pytest.mark.parametrize("seed", [1, 2])
def test_character_ngrams_tell_attacks_well_but_not_perfectly_and_better_than_words(seed: int) -> None:
    ngrams = HashingVectorizer(analyzer="char", ngram_range=(1, 3), n_features=4_096)
    words = HashingVectorizer(token_pattern=r"\w+", n_features=4_096)
    ngram_f1, ngram_auc = regression(ngrams, 0.04, seed)
    word_f1, _ = regression(words, 0.04, seed)
    assert 0.88 <= ngram_f1 <= 0.98
    assert 0.98 <= ngram_auc < 1.0
    assert word_f1 < ngram_f1 - 0.03


def test_lines_are_streamed_in_constant_memory() -> None:
    def peak(rows: int) -> int:
        tracemalloc.start()
        for _ in generate(rows, 1):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(12_000) < peak(3_000) * 1.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": -1}, "rows must be 0 or more, not -1."),
        ({"attack_share": 1.5}, "attack_share must be from 0 to 1, not 1.5."),
        ({"attack_share": float("nan")}, "attack_share must be from 0 to 1, not nan."),
        ({"site": "casino"}, "No site is called 'casino'. Choose one of: shop, hospital, bank, hosting."),
        ({"kinds": {"phishing": 1.0}}, "No attack kind is called 'phishing'. Choose from: sqli, "),
        ({"kinds": {"sqli": -1.0}}, "The weight of kind 'sqli' must be a number of 0 or more, not -1.0."),
        (
            {"kinds": {"sqli": float("inf")}},
            "The weight of kind 'sqli' must be a number of 0 or more, not inf.",
        ),
        ({"kinds": {}}, "At least one kind of attack needs a weight above 0."),
        ({"kinds": {"sqli": 0.0}}, "At least one kind of attack needs a weight above 0."),
    ],
)
def test_arguments_out_of_bounds_are_refused_before_the_first_line(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        generate(**{"rows": 10, "seed": 1, **arguments})  # type: ignore[arg-type]


def test_a_grammar_whose_slot_has_no_rule_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match=r"Rule 'greeting' uses the slot \{\?who\}, but no rule has that name"):
        Grammar({"greeting": ["hello {?who}"]}, Draw(1))


def test_a_slot_is_expanded_as_it_is_or_written_as_a_query_value() -> None:
    rules: dict[str, Alternatives] = {"plain": ["{text}"], "query": ["{?text}"], "text": [(3, "a&b c")]}
    grammar = Grammar(rules, Draw(1))
    assert grammar.expand("plain") == "a&b c"
    written = {grammar.expand("query") for _ in range(200)}
    assert {"a%26b+c", "a%26b%20c", "a%2526b%2520c"} == written


def test_generate_returns_an_iterator_that_has_made_nothing_yet() -> None:
    endless = generate(10**12, 1)
    assert isinstance(endless, Iterator)
    assert fields(next(endless))["time"] == "05/Jan/2026:08:00:00 +0000"
