"""Attacks that one rule on the grant, the use or the owners stops: without it they succeed.

Each is an honest run with one thing forged, so that nothing but the rule is in the way.
"""

from __future__ import annotations

from typing import Final
from unittest.mock import patch

from fedcore.plugin_api.backends import BackendStatus
from fedcore.wire.codes import RefusalCode
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Pipeline, PluginChoice, Protocol
from plugins.encryption.keyed_tokens import KeyedTokens
from tests.faults.wrong_orders import Wrong
from tests.owner.cast import HASHED, PLAIN
from tests.owner.hostile.forging import (
    NOW,
    attack_on_rule,
    forged,
    forged_with,
    own_dataset,
    rewritten,
    runs_of_one_grant,
    without_a_look_before_sending,
    without_counting_again,
)
from tests.owner.hostile.scene import Delivered, Scene

NGRAMS: Final = Pipeline(steps=(*HASHED.steps[:3], PluginChoice(name="char_ngrams"), *HASHED.steps[4:]))
MORE_COLUMNS: Final = Pipeline(
    steps=(*HASHED.steps[:-1], PluginChoice(name="hash_columns", options={"columns": 65_536}))
)
MLP: Final = PluginChoice(name="mlp")
ABOVE_THE_CEILINGS: Final = "a grant for another purpose is beyond the ceilings, so it does not take effect"

# -- on the grant


def with_other_files(scene: Scene) -> list[Delivered]:
    orders = scene.forged(Wrong(""))
    log = scene.north.home.path / "bad.txt"
    log.write_text(log.read_text() + "/another/row?id=1\n")
    return [*orders]


def on_a_wider_request(scene: Scene) -> list[Signed]:
    """The run names one request of Sam's, the order carries another that allows more."""
    return scene.forged(Wrong("", spec={"grants": ("a" * 64, "b" * 64)}, request={"releases": 5}))


def once_more_than_granted(scene: Scene) -> list[Delivered]:
    """Two runs begin under a grant for one; the first of them uses it up."""
    first, second = runs_of_one_grant(scene, 2, request={"releases": 1}, grant={"releases": 1000})
    scene.carry_out(first[0], second[0], first[1])
    return [second[1]]


GRANT: Final = [
    attack_on_rule(
        "the files are others than those that the run names",
        "dataset_is_current",
        RefusalCode.DATASET_CHANGED,
        with_other_files,
    ),
    attack_on_rule(
        "data is used after the date until which it may be kept",
        "retention_date_has_not_passed",
        RefusalCode.RETENTION_PASSED,
        forged(),
        policy=rewritten("retention = 2099-12-31", "retention = 2020-01-01"),
    ),
    attack_on_rule(
        "an order carries a wider request than the one that the run names",
        "request_is_the_one_the_run_names",
        RefusalCode.NOT_GRANTED,
        on_a_wider_request,
    ),
    attack_on_rule(
        "Sam's run is ordered on what Eve was granted",
        "request_is_signed_by_the_scientist",
        RefusalCode.NOT_GRANTED,
        forged_with(lambda scene: {"requester": scene.eve}),
        backed="a host holds a grant for the scientist who signed its request",
    ),
    attack_on_rule(
        "a grant for an earlier version is used for this one",
        "request_is_for_this_dataset",
        RefusalCode.NOT_GRANTED,
        forged_with(lambda scene: {"request": {"dataset": own_dataset(scene, version="9" * 64)}}),
    ),
    attack_on_rule(
        "the coordinator puts off the end of a grant",
        "grant_has_not_expired",
        RefusalCode.GRANT_EXPIRED,
        forged(request={"expires_at": NOW - 1}, grant={"expires_at": NOW + 10**6}),
        behind=without_a_look_before_sending,
        second=frozenset({RefusalCode.GRANT_EXPIRED, RefusalCode.OUT_OF_ORDER}),
    ),
    attack_on_rule(
        "the coordinator grants more runs than were asked for",
        "releases_are_left",
        RefusalCode.RELEASES_SPENT,
        once_more_than_granted,
        behind=without_counting_again,
    ),
    attack_on_rule(
        "the coordinator grants a download that was not asked for",
        "download_is_allowed",
        RefusalCode.DOWNLOAD_NOT_ALLOWED,
        forged(grant={"download": True}),
    ),
]

# -- on the use


def under_a_backend_for_teaching(scene: Scene) -> list[Signed]:
    """The backend of the pooled run declares that it is for teaching, as `rsa` does, which no pipeline takes yet."""
    scene.undo.enter_context(patch.object(KeyedTokens, "status", BackendStatus.TEACHING))
    return scene.forged(Wrong(""))


USES: Final = [
    attack_on_rule(
        "data is used for another purpose than was asked for",
        "purpose_is_allowed",
        RefusalCode.PURPOSE_NOT_ALLOWED,
        forged(request={"purpose": "research"}),
        backed=ABOVE_THE_CEILINGS,
    ),
    attack_on_rule(
        "data is used for a purpose that the policy does not name",
        "purpose_is_allowed",
        RefusalCode.PURPOSE_NOT_ALLOWED,
        forged(spec={"purpose": "marketing"}, request={"purpose": "marketing"}),
        backed=ABOVE_THE_CEILINGS,
    ),
    attack_on_rule(
        "rows are to leave under a grant for local runs",
        "protocol_is_allowed",
        RefusalCode.PROTOCOL_NOT_ALLOWED,
        forged(request={"protocols": (Protocol.LOCAL,)}),
    ),
    attack_on_rule(
        "rows are to leave where the policy allows local runs",
        "protocol_is_allowed",
        RefusalCode.PROTOCOL_NOT_ALLOWED,
        forged(),
        policy=rewritten('protocols = ["local", "reference", "pooled", "shared"]', 'protocols = ["local"]'),
    ),
    attack_on_rule(
        "another backend is put in than was granted",
        "backend_is_allowed",
        RefusalCode.BACKEND_NOT_ALLOWED,
        forged(Protocol.LOCAL, request={"backends": ("keyed_tokens",)}),
    ),
    attack_on_rule(
        "a backend is put in that the policy does not name",
        "backend_is_allowed",
        RefusalCode.BACKEND_NOT_ALLOWED,
        forged(),
        policy=rewritten(
            'backends = ["plaintext", "keyed_tokens", "secret_sharing"]', 'backends = ["plaintext"]'
        ),
    ),
    attack_on_rule(
        "another model is put in than was granted",
        "model_is_allowed",
        RefusalCode.MODEL_NOT_ALLOWED,
        forged(spec={"model": MLP}),
    ),
    attack_on_rule(
        "a model is put in that the policy does not name",
        "model_is_allowed",
        RefusalCode.MODEL_NOT_ALLOWED,
        forged(spec={"model": MLP}, request={"models": ("mlp",)}),
        policy=rewritten('models = ["linear", "mlp"]', 'models = ["linear"]'),
    ),
    attack_on_rule(
        "the pipeline is another than was granted",
        "pipeline_is_granted",
        RefusalCode.PIPELINE_NOT_GRANTED,
        forged(spec={"pipeline": MORE_COLUMNS}),
    ),
    attack_on_rule(
        "the coordinator is to receive plaintext",
        "plaintext_goes_to_the_reference_host_only",
        RefusalCode.BACKEND_NOT_ALLOWED,
        forged(spec={"backend": PLAIN}, request={"backends": ("plaintext",)}),
    ),
    attack_on_rule(
        "another owner is put in the place of the reference host",
        "reference_host_is_trusted",
        RefusalCode.REFERENCE_NOT_TRUSTED,
        forged_with(
            lambda scene: {"spec": {"reference_host": scene.south.key}},
            Protocol.REFERENCE,
        ),
    ),
    attack_on_rule(
        "a stranger is put in the place of the reference host",
        "reference_host_is_trusted",
        RefusalCode.REFERENCE_NOT_TRUSTED,
        forged_with(lambda scene: {"spec": {"reference_host": scene.sybil.public}}, Protocol.REFERENCE),
    ),
    attack_on_rule(
        "characters are merely renamed though the policy names no such step",
        "character_steps_are_named",
        RefusalCode.STEP_NOT_ALLOWED,
        forged(spec={"pipeline": NGRAMS}, request={"pipelines": (NGRAMS,)}),
    ),
    attack_on_rule(
        "rows are protected by a backend that is for teaching, though the policy names none such",
        "teaching_backend_is_named",
        RefusalCode.BACKEND_NOT_ALLOWED,
        under_a_backend_for_teaching,
    ),
    attack_on_rule(
        "a run without epsilon is ordered on data for which the policy has one",
        "privacy_limit_is_kept",
        RefusalCode.EPSILON_NOT_ALLOWED,
        forged(),
        policy=rewritten(
            "minimum_owners = 1\nminimum_rows", "minimum_owners = 1\nepsilon = 1.0\nminimum_rows"
        ),
    ),
    attack_on_rule(
        "a run selects so few rows that one of them can be told apart",
        "enough_rows_take_part",
        RefusalCode.TOO_FEW_ROWS,
        forged(spec={"first_rows": 10}),
    ),
]

# -- on who takes part

OWNERS: Final = [
    attack_on_rule(
        "north is alone in a run whose key owners share",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        forged_with(lambda scene: {"spec": {"datasets": (own_dataset(scene),)}}),
    ),
    attack_on_rule(
        "fewer owners take part than the request says",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        forged(request={"minimum_owners": 3}),
    ),
    attack_on_rule(
        "fewer owners take part than the policy says",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        forged(),
        policy=rewritten("minimum_owners = 1", "minimum_owners = 3"),
    ),
    attack_on_rule(
        "two hosts of one organisation count as two owners",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        forged(),
        policy=lambda text: text.replace('organisation = "south-org"', 'organisation = "North-Org "').replace(
            "minimum_owners = 1", "minimum_owners = 2"
        ),
    ),
    attack_on_rule(
        "the scientist's organisation holds the key as an owner",
        "scientist_belongs_to_no_owner",
        RefusalCode.SAME_ORGANISATION,
        forged(),
        policy=rewritten('organisation = "university"', 'organisation = "south-org"'),
    ),
    attack_on_rule(
        "the coordinator's operator holds the key as an owner",
        "coordinator_belongs_to_no_owner",
        RefusalCode.SAME_ORGANISATION,
        forged(),
        policy=rewritten('organisation = "cloud-house"', 'organisation = "south-org"'),
    ),
]

ON_USE: Final = [*GRANT, *USES, *OWNERS]
