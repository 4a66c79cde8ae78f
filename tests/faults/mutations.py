"""Seeded mutations of signed messages. Whoever gets one of them must refuse it: none is a valid message.

`damaged` breaks the bytes of an envelope, `forged` signs changed content with a key that has no right to,
`broken` signs with the right key what breaks the schema. What the schema allows and the rules forbid (another
host's order, a passed deadline) is written down by the tests of each endpoint.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, get_args

from fedcore.wire.keys import SigningKey
from fedcore.wire.signing import Signed, SignedMessage, signed_bytes

STRANGER: Final = SigningKey.generate()
"""A key that nobody has registered or pinned."""

FREE_TABLES: Final = frozenset({"options", "seconds"})
"""Objects of messages whose names the schema leaves open."""


@dataclass(frozen=True)
class Mutant:
    """What was done to a message, and the envelope's bytes as they are sent."""

    kind: str
    body: bytes


def envelope(kind: str, text: str, key: SigningKey, signer: str | None = None) -> bytes:
    """Any text, signed as a message of this kind; `signer` is who claims to have signed."""
    signature = base64.b64encode(key.sign(signed_bytes(kind, text))).decode()
    return json.dumps({"text": text, "signer": signer or key.public, "signature": signature}).encode()


def valid(message: SignedMessage, key: SigningKey) -> bytes:
    """The message as its author sends it."""
    return message.signed_by(key).encode().encode()


def mutants_of(
    message: SignedMessage, key: SigningKey, chance: random.Random, count: int
) -> Iterator[Mutant]:
    """`count` mutants of a message that `key` may sign: damaged, forged and broken ones in turn."""
    for number in range(count):
        yield (damaged, forged, broken)[number % 3](message, key, chance)


def damaged(message: SignedMessage, key: SigningKey, chance: random.Random) -> Mutant:
    """The envelope with bytes flipped, cut, repeated or put in, or with its fields changed."""
    whole = valid(message, key)
    name, change = chance.choice(DAMAGES)
    while True:
        body = change(whole, chance)
        if _meaning(body) != _meaning(whole):
            return Mutant(f"damaged: {name}", body)


def forged(message: SignedMessage, key: SigningKey, chance: random.Random) -> Mutant:
    """The message with one field edited, signed by a stranger under either name, or with the old signature."""
    content = json.loads(message.encode())
    edit_one_value(content, chance)
    text = json.dumps(content, separators=(",", ":"))
    way = chance.randrange(3)
    if way == 0:
        return Mutant("forged: signed by a stranger", envelope(message.KIND, text, STRANGER))
    if way == 1:
        body = envelope(message.KIND, text, STRANGER, signer=key.public)
        return Mutant("forged: a stranger claims the author's key", body)
    old = message.signed_by(key)
    fields = {"text": text + " " * (text == old.text), "signer": old.signer, "signature": old.signature}
    return Mutant("forged: edited after signing", json.dumps(fields).encode())


def broken(message: SignedMessage, key: SigningKey, chance: random.Random) -> Mutant:
    """What the author's own key has signed, and the schema forbids."""
    name, change = chance.choice(BREAKS)
    kind = message.KIND
    if name == "signed as another kind":
        kind = chance.choice([k for k in ("order", "report", "run-spec", "announcement") if k != kind])
    return Mutant(f"broken: {name}", envelope(kind, change(message, chance), key))


def edit_one_value(content: Any, chance: random.Random) -> None:
    """Give one leaf of a JSON document another value of any type."""
    places = [(table, name) for table, name, value in _leaves(content) if not isinstance(value, dict | list)]
    table, name = chance.choice(places)
    former = table[name]
    while table[name] == former and type(table[name]) is type(former):
        table[name] = chance.choice(_another(former, chance))


def required_fields(message: SignedMessage) -> list[str]:
    return [name for name, field in type(message).model_fields.items() if field.is_required()]


def _leaves(content: Any) -> Iterator[tuple[Any, Any, Any]]:
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in list(pairs):
        yield content, name, value
        if isinstance(value, dict | list):
            yield from _leaves(value)


def _another(value: Any, chance: random.Random) -> list[Any]:
    digits = "".join(chance.choices("0123456789abcdef", k=64))
    return [None, True, 0, -1, 2**53 - 1, 1.5, "", "x" * 300, digits, digits[:32], "\x00", [], {}, [value]]


def _meaning(body: bytes) -> Any:
    try:
        # Decoded here: the parser would accept other encodings, and keep only the last of repeated names.
        return json.loads(body.decode(), object_pairs_hook=list)
    except ValueError:
        return body


# -- damages: functions of the envelope's bytes


def _flip(whole: bytes, chance: random.Random) -> bytes:
    body = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return bytes(body)


def _cut(whole: bytes, chance: random.Random) -> bytes:
    return whole[: chance.randrange(1, len(whole))]


def _without_a_piece(whole: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(whole) - 1)
    return whole[:start] + whole[start + chance.randint(1, 40) :]


def _put_in(whole: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(whole))
    return whole[:place] + chance.randbytes(chance.randint(1, 40)) + whole[place:]


def _twice(whole: bytes, chance: random.Random) -> bytes:
    return whole + chance.choice([whole, b"{}", b"\x00", b","])


def _of_fields(
    change: Callable[[dict[str, Any], random.Random], Any],
) -> Callable[[bytes, random.Random], bytes]:
    def changed(whole: bytes, chance: random.Random) -> bytes:
        return json.dumps(change(json.loads(whole), chance)).encode()

    return changed


def _another_shape(fields: dict[str, Any], chance: random.Random) -> Any:
    text = json.loads(fields["text"])
    shapes: list[Any] = [
        *(None, True, 7, "text", [], {}, [fields], {"message": fields}, fields["text"], text),
        *(
            {**fields, "text": text},
            {**fields, "text": None},
            {**fields, "text": ""},
            {**fields, "text": "[]"},
        ),
        *({**fields, "signer": None}, {**fields, "signer": ""}, {**fields, "signer": fields["signer"] + "="}),
        *({**fields, "signature": ""}, {**fields, "signature": None}, {**fields, "algorithm": "none"}),
        *({name: value for name, value in fields.items() if name != gone} for gone in fields),
    ]
    return chance.choice(shapes)


def _another_signature(fields: dict[str, Any], chance: random.Random) -> Any:
    raw = bytearray(base64.b64decode(fields["signature"]))
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return {**fields, "signature": base64.b64encode(bytes(raw)).decode()}


def _same_signature_written_otherwise(fields: dict[str, Any], chance: random.Random) -> Any:
    # 64 bytes leave four bits of the last character unused: fifteen other spellings decode to the same bytes.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    signature = fields["signature"]
    last = alphabet[alphabet.index(signature[85]) | chance.randint(1, 15)]
    return {**fields, "signature": signature[:85] + last + "=="}


def _repeated_name(whole: bytes, chance: random.Random) -> bytes:
    fields = json.loads(whole)
    name = chance.choice(list(fields))
    value = chance.choice([fields[name], "", STRANGER.public])
    return b'{"' + name.encode() + b'":' + json.dumps(value).encode() + b"," + whole.lstrip()[1:]


DAMAGES: Final[list[tuple[str, Callable[[bytes, random.Random], bytes]]]] = [
    ("bits flipped", _flip),
    ("cut off", _cut),
    ("a piece missing", _without_a_piece),
    ("bytes put in", _put_in),
    ("something behind it", _twice),
    ("another shape", _of_fields(_another_shape)),
    ("another signature", _of_fields(_another_signature)),
    ("the signature written otherwise", _of_fields(_same_signature_written_otherwise)),
    ("a byte order mark", lambda whole, chance: b"\xef\xbb\xbf" + whole),
    ("a repeated name", _repeated_name),
    ("another encoding", lambda whole, chance: whole.decode().encode(chance.choice(["utf-16", "utf-32"]))),
]


# -- breaks: functions of the message, giving a text that is then signed with the right key


def _edited(change: Callable[[dict[str, Any], SignedMessage, random.Random], None]) -> Callable[..., str]:
    def text(message: SignedMessage, chance: random.Random) -> str:
        content = json.loads(message.encode())
        change(content, message, chance)
        return json.dumps(content)

    return text


def _unknown_field(content: dict[str, Any], message: SignedMessage, chance: random.Random) -> None:
    tables = [content] + [
        value
        for _, name, value in _leaves(content)
        if isinstance(value, dict) and name not in FREE_TABLES and not _is_inside_free_table(content, value)
    ]
    name = chance.choice(["also", "__class__", "Version", "version ", "", "$ref", "py/object", "нет"])
    chance.choice(tables)[name] = chance.choice([None, 1, "x", {}, []])


def _is_inside_free_table(content: Any, wanted: Any) -> bool:
    free = [value for _, name, value in _leaves(content) if name in FREE_TABLES and isinstance(value, dict)]
    return any(inner is wanted for table in free for _, _, inner in _leaves(table))


def _field_missing(content: dict[str, Any], message: SignedMessage, chance: random.Random) -> None:
    del content[chance.choice(required_fields(message))]


def _another_type(content: dict[str, Any], message: SignedMessage, chance: random.Random) -> None:
    name = chance.choice(required_fields(message))
    former = content[name]
    others: list[Any] = [True, 3.5, "", {"a": 1}, [[]], -7, str(former), [former]]
    if type(None) not in get_args(type(message).model_fields[name].annotation):
        others.append(None)
    content[name] = chance.choice([other for other in others if type(other) is not type(former)])


def _another_version(content: dict[str, Any], message: SignedMessage, chance: random.Random) -> None:
    content["version"] = chance.choice([0, 2, -1, "1", None, True, 1.5, [1], 2**53 - 1])


def _raw(pick: Callable[[random.Random], str]) -> Callable[..., str]:
    """The value of a required field replaced by JSON text that `json.dumps` would not write."""

    def text(message: SignedMessage, chance: random.Random) -> str:
        content = json.loads(message.encode())
        content[chance.choice(required_fields(message))] = "@@here@@"
        return json.dumps(content).replace('"@@here@@"', pick(chance))

    return text


def _deep(chance: random.Random) -> str:
    depth = chance.choice([33, 100, 1_000, 20_000])
    opening, closing = chance.choice([("[", "]"), ('{"a":', "}")])
    return opening * depth + "0" + closing * depth


def _name_twice(message: SignedMessage, chance: random.Random) -> str:
    text = message.encode()
    content = json.loads(text)
    name = chance.choice(list(content))
    return "{" + json.dumps(name) + ":" + json.dumps(content[name]) + "," + text[1:]


NUMBERS: Final = (
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9007199254740992", "-9007199254740992"),
    *("1" + "0" * 400, "1" + "0" * 5_000, "-1", "0x10", "1_000", "01", "1e-400"),
)
STRINGS: Final = (
    *(r'"\ud800"', r'"\udfff\ud800"', '"\x00"', '"\n"', r'"\u0000"', r'"\x41"'),
    *("'a'", '"' + "z" * 4100 + '"'),
)

BREAKS: Final[list[tuple[str, Callable[..., str]]]] = [
    ("an unknown field", _edited(_unknown_field)),
    ("a field missing", _edited(_field_missing)),
    ("another type", _edited(_another_type)),
    ("another version", _edited(_another_version)),
    ("an impossible number", _raw(lambda chance: chance.choice(NUMBERS))),
    ("an impossible string", _raw(lambda chance: chance.choice(STRINGS))),
    ("nested too deeply", _raw(_deep)),
    ("a repeated name", _name_twice),
    ("signed as another kind", lambda message, chance: message.encode()),
    (
        "no object",
        lambda message, chance: chance.choice(["", "null", "[]", "7", '"x"', "{", f"[{message.encode()}]"]),
    ),
    ("two objects", lambda message, chance: message.encode() + message.encode()),
]


def opened(body: bytes, expected: type[SignedMessage]) -> SignedMessage:
    """The message in an envelope, verified."""
    return Signed.from_bytes(body).open(expected)
