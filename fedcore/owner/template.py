"""The `owner.toml` that `fedcore-owner init` writes: every setting explained, and nothing allowed yet."""

from __future__ import annotations

import json
from typing import Final

from fedcore.owner.ceilings import Ceilings

UNKNOWN: Final = "?"
"""Stands where a person must fill something in; as no key has this form, the file is no policy until then."""

_TEMPLATE: Final = """\
# The policy and settings of this owner host. What is not written here is not allowed. `fedcore-owner check`
# explains every line and finds every mistake; while there is one, nothing runs.

organisation = {organisation}          # who owns the data of this host

[coordinator]                          # the one site that this host takes orders from
url = {url}
key = {key}                            # its public key, as its operator shows it; compare fingerprints
organisation = {operator}              # who operates it; it must own no data of the runs

# A scientist whose runs are considered. The key comes from the scientist, not from the coordinator.
# [[scientists]]
# name = "sam"
# key = "43 characters"
# organisation = "university"

# Another owner's host that may take part. Its card is what `fedcore-owner card` prints there.
# [[peers]]
# name = "south"
# card = "fedcore-host:…:…"
# organisation = "south-bank"
# reference = false                    # true: this host may receive your plaintext, for baselines
# dealer = false                       # true: this host may deal for runs on shares; with a compute owner it could
#                                      # read your rows, so it is another organisation's

[[plugins]]                            # an installed package whose plugins may run here; version and digest
distribution = "fedcore"               # (SHA-256 of its code, which `check` prints) narrow it

# A third party's package: its plugins run confined, with rows but no keys, files of this host, or network. Pin it by
# the digest that `fedcore-owner check` prints.
# [[plugins]]
# distribution = "some-plugins"
# holds_keys = false                   # true: an encryption backend of this package gets the runs' keys

# A dataset that is offered, and all that may be done with it.
# [datasets.access-2026]
# title = "Access logs of 2026"
# description = "Requests to our public site."
# reader = "labelled_lines"
# reader_options = {{}}
# files = [{{path = "good.txt", label = "benign"}}, {{path = "bad.txt", label = "attack"}}]
# purposes = ["security-research"]
# protocols = ["local", "pooled"]      # "shared" too, to train on shares (needs the backend "secret_sharing");
#                                      # "reference" too, to send plaintext to a peer with reference = true
# backends = ["plaintext", "keyed_tokens"]   # plaintext stays here (local) or goes to the reference host
# models = ["linear", "mlp"]
# character_steps = []                 # "char_ngrams" only with care: renaming hardly hides pieces of words
# teaching_backends = []               # "rsa" too, for data that is nobody's secret: known attacks break it
# epsilon = "none"                     # a number: the most that a run may cost; runs that promise none are refused
# epsilon_total = "none"               # a number: the most that all runs of all grants may cost together, ever
# delta = 1e-6                         # the chance that a row is told apart further than that
# count_epsilon = "none"               # a number: row counts that leave are noisy instead of rounded
# minimum_owners = 2                   # organisations that must bring data to a run, this one included
# minimum_rows = 100                   # rows that must stand behind everything that leaves
# releases = 50                        # runs that one grant may cover
# round_rows_to = 100                  # row counts that leave are rounded down to a multiple of this
# minimum_class_rows = 5               # held-out rows that a class must have for counts by class to leave
# release = "automatic"                # "review": what depends on rows waits here until a person releases it
# release_mb = 4096                    # MiB that the answer to one order may have at most
# download = false                     # true: pseudonymised rows may be handed out, and never called back
# hours = ["08:00-18:00"]              # times of day (UTC) at which orders may start work; without it, any time
# retention = 2027-12-31               # the last day on which the data may be used
# [datasets.access-2026.catalogue]     # what scientists read of it; none of it is a permission
# licence = "for research only"
# terms = "Name us in publications."
# sensitivity = "confidential"         # public, internal, confidential or special (GDPR, article 9)
# price = ""                           # what it is worth, or what its use costs
# contact = "data-office@example.org"
# columns = {{request = "the request line, without the host"}}
# mock = "generated"                   # made-up rows to develop on: "generated" from the schema, never from rows;
# mock_files = []                      # "file": the files here, published whole; or "none"

# What a grant may reach to take effect at once when it is approved at the coordinator. What goes beyond waits
# until a person here confirms it (`fedcore-owner grants`). The settings above stay the limit of everything.
# [datasets.access-2026.ceilings]
{ceilings}

[reference]
serves = false                         # true: train baselines on plaintext that pinned owners send here

[dealer]
serves = false                         # true: deal the randomness of runs on shares that name this host
release_mb = 4096                      # MiB of randomness that are dealt for one run at most

# [ledger]
# counter = "/var/lib/fedcore-owner.counter"   # outside this folder, and in no backup of it
# receipts = "when_available"          # "required": no epsilon is spent without a peer's fresh receipt

[worker]
processes = 2                          # worker processes
shard_bytes = 4194304                  # bytes of a file that one task reads
memory_mb = 4096                       # MiB of memory that one task may use
seconds = 3600                         # seconds that one task may take
unconfined_plugins = false             # true: third parties' plugins run even where the kernel cannot confine them
"""


def template(
    organisation: str,
    url: str,
    key: str,
    operator: str,
    ceilings: Ceilings = Ceilings(),  # noqa: B008 (frozen)
) -> str:
    """The commented file, with these ceilings. Raises nothing: what is wrong in it, `parse_config` says."""
    values = {"organisation": organisation, "url": url, "key": key, "operator": operator}
    lines = [f"# {name} = {json.dumps(value)}" for name, value in ceilings.model_dump(mode="json").items()]
    return _TEMPLATE.format(
        **{name: json.dumps(value) for name, value in values.items()}, ceilings="\n".join(lines)
    )
