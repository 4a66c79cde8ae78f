"""The only words that leave an owner's host when it refuses or fails.

A code says which rule stopped an order. The detail (values, paths, stack traces) stays in the host's own
log and journal. `EXPLANATIONS` is the text that coordinator and client show beside a code.
"""

from __future__ import annotations

from enum import StrEnum


class RefusalCode(StrEnum):
    """Why a message was refused or a run ended. The wire carries the value, never a free text."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNKNOWN_FIELD = "unknown_field"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_SIGNER = "unknown_signer"
    WRONG_AUDIENCE = "wrong_audience"
    EXPIRED = "expired"
    CONFLICT = "conflict"
    OUT_OF_ORDER = "out_of_order"
    NO_POLICY = "no_policy"
    UNKNOWN_SCIENTIST = "unknown_scientist"
    UNKNOWN_DATASET = "unknown_dataset"
    DATASET_CHANGED = "dataset_changed"
    DATASET_UNREADABLE = "dataset_unreadable"
    DATASET_EMPTY = "dataset_empty"
    RETENTION_PASSED = "retention_passed"
    OUTSIDE_HOURS = "outside_hours"
    PURPOSE_NOT_ALLOWED = "purpose_not_allowed"
    PROTOCOL_NOT_ALLOWED = "protocol_not_allowed"
    BACKEND_NOT_ALLOWED = "backend_not_allowed"
    STEP_NOT_ALLOWED = "step_not_allowed"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    PIPELINE_NOT_GRANTED = "pipeline_not_granted"
    NOT_GRANTED = "not_granted"
    GRANT_EXPIRED = "grant_expired"
    GRANT_REVOKED = "grant_revoked"
    GRANT_NOT_CONFIRMED = "grant_not_confirmed"
    SCIENTIST_LEFT = "scientist_left"
    RELEASES_SPENT = "releases_spent"
    DOWNLOAD_NOT_ALLOWED = "download_not_allowed"
    EPSILON_NOT_ALLOWED = "epsilon_not_allowed"
    BUDGET_SPENT = "budget_spent"
    LEDGER_HELD = "ledger_held"
    TOO_FEW_OWNERS = "too_few_owners"
    TOO_FEW_ROWS = "too_few_rows"
    UNKNOWN_PEER = "unknown_peer"
    REFERENCE_NOT_TRUSTED = "reference_not_trusted"
    DEALER_NOT_TRUSTED = "dealer_not_trusted"
    SAME_ORGANISATION = "same_organisation"
    PLUGIN_MISSING = "plugin_missing"
    PLUGIN_MISMATCH = "plugin_mismatch"
    INVALID_OPTIONS = "invalid_options"
    KEY_AGREEMENT_FAILED = "key_agreement_failed"
    STATE_MISMATCH = "state_mismatch"
    ARTEFACT_INVALID = "artefact_invalid"
    NOT_FINITE = "not_finite"
    KEY_INVALID = "key_invalid"
    KEY_SPENT = "key_spent"
    OUT_OF_RANGE = "out_of_range"
    MASK_REUSED = "mask_reused"
    PLUGIN_CONFINED = "plugin_confined"
    RELEASE_REFUSED = "release_refused"
    RESOURCE_LIMIT = "resource_limit"
    WORKER_LOST = "worker_lost"
    STORAGE_FAILED = "storage_failed"
    STEP_FAILED = "step_failed"
    OWNER_AWAY = "owner_away"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


EXPLANATIONS: dict[RefusalCode, str] = {
    RefusalCode.TOO_LARGE: "The message is larger than the limit. Send less, or upload it as an artefact.",
    RefusalCode.MALFORMED: "The message does not follow its schema. Use the client of the same version.",
    RefusalCode.UNKNOWN_FIELD: "The message has a field that its type does not have. Remove the field.",
    RefusalCode.BAD_SIGNATURE: "The signature does not fit the bytes. Sign the exact bytes that are sent.",
    RefusalCode.UNKNOWN_SIGNER: "The signing key is not the one that was expected. Register or pin the key.",
    RefusalCode.WRONG_AUDIENCE: "The order is addressed to another host. Compare the hosts' cards with the "
    "coordinator's list.",
    RefusalCode.EXPIRED: "The message is past its expiry by the owner's clock. Send a new one.",
    RefusalCode.CONFLICT: "Another message with the same identity but other content was received before.",
    RefusalCode.OUT_OF_ORDER: "The order does not follow from what this host has done in the run so far. "
    "Submit the run again.",
    RefusalCode.NO_POLICY: "The host has no valid policy, so it does nothing. Run `fedcore-owner check`.",
    RefusalCode.UNKNOWN_SCIENTIST: "The scientist's key is not in the owner's policy. Ask the owner to add it.",
    RefusalCode.UNKNOWN_DATASET: "The owner's policy offers no dataset of this name. Look into the catalogue again.",
    RefusalCode.DATASET_CHANGED: "The dataset is no longer the version that was granted. Request access to the "
    "new version.",
    RefusalCode.DATASET_UNREADABLE: "The dataset's file is missing or has a wrong form. The owner sees which "
    "with `fedcore-owner check`.",
    RefusalCode.DATASET_EMPTY: "The dataset has no usable rows. Ask the owner to look at its files.",
    RefusalCode.RETENTION_PASSED: "The dataset is past its retention date, so the owner no longer lets it be used.",
    RefusalCode.OUTSIDE_HOURS: "The owner's policy lets the data be used at certain times of day only. Ask the owner "
    "which, and submit the run again within them.",
    RefusalCode.PURPOSE_NOT_ALLOWED: "The owner's policy does not allow this purpose. Ask the owner which it allows.",
    RefusalCode.PROTOCOL_NOT_ALLOWED: "The grant or the owner's policy does not allow this protocol. Use one that "
    "was granted, or ask the owner to allow it.",
    RefusalCode.BACKEND_NOT_ALLOWED: "The grant or the owner's policy does not allow this encryption backend. Use "
    "one that was granted, or ask the owner to allow it.",
    RefusalCode.STEP_NOT_ALLOWED: "The owner's policy must name this step for this backend, and does not. Ask the "
    "owner to add it, or leave the step out.",
    RefusalCode.MODEL_NOT_ALLOWED: "The grant or the owner's policy does not allow this model type. Use one that was "
    "granted, or ask the owner to allow it.",
    RefusalCode.PIPELINE_NOT_GRANTED: "The pipeline is not one of those that were granted. Request access for it.",
    RefusalCode.NOT_GRANTED: "There is no grant that covers this run. Request access to the dataset.",
    RefusalCode.GRANT_EXPIRED: "The grant is past its expiry. Request access again.",
    RefusalCode.GRANT_REVOKED: "The owner has revoked the grant. Read the reason beside the request, and ask again.",
    RefusalCode.GRANT_NOT_CONFIRMED: "The grant goes beyond what takes effect at once at the owner's host, and a "
    "person there has not confirmed it. Ask the owner, who sees it with `fedcore-owner grants list`.",
    RefusalCode.SCIENTIST_LEFT: "The person who asked no longer works as a data scientist of the organisation that the "
    "request names. Request access again, in the name of the present one.",
    RefusalCode.RELEASES_SPENT: "All releases of the grant are used. Request access for more.",
    RefusalCode.DOWNLOAD_NOT_ALLOWED: "The grant allows a download that the owner's policy or the request does not. "
    "Ask for a grant without it.",
    RefusalCode.EPSILON_NOT_ALLOWED: "The run does not keep to the epsilon of the grant or of the owner's policy: it "
    "promises none where they have one, more than they allow, or one that was never granted. Submit it with another "
    "epsilon, or ask for a grant that fits.",
    RefusalCode.BUDGET_SPENT: "The privacy budget of the grant or of the dataset does not cover this run. Ask for "
    "less epsilon, or ask the owner for a larger budget.",
    RefusalCode.LEDGER_HELD: "The owner's privacy ledger is older than what other hosts remember of it, so it spends "
    "nothing until a person at the owner decides. Ask the owner, who sees why with `fedcore-owner ledger`.",
    RefusalCode.TOO_FEW_OWNERS: "Fewer owners take part than the run, the grant or a policy requires. Add datasets "
    "of other owners.",
    RefusalCode.TOO_FEW_ROWS: "Fewer rows stand behind the output than the owner's policy requires. Add datasets, "
    "or ask the owner for a larger one.",
    RefusalCode.UNKNOWN_PEER: "Another owner of the run is not pinned in this owner's policy. Ask the owner to add "
    "the other host's card to its peers.",
    RefusalCode.REFERENCE_NOT_TRUSTED: "The owner's policy does not trust this reference host with plaintext. Ask "
    "the owner to mark it with `reference = true`, or use another protocol.",
    RefusalCode.DEALER_NOT_TRUSTED: "The owner's policy does not trust this host as a dealer, or the host does not "
    "deal. Ask the owner to mark it with `dealer = true`, or use another dealer.",
    RefusalCode.SAME_ORGANISATION: "Two roles of the run that must be kept apart are in one organisation, which could "
    "read the other owners' rows: an owner that holds the run's key, its scientist, the coordinator's operator, its "
    "compute owners, its dealer. Name hosts of different organisations, and submit as a scientist of none of them.",
    RefusalCode.PLUGIN_MISSING: "A plugin of the run is not installed or not allowed at the owner. Ask the owner to "
    "install it and to name its distribution in the policy.",
    RefusalCode.PLUGIN_MISMATCH: "A plugin at the owner has another version or other files than the run pins. "
    "Install the same version on both sides.",
    RefusalCode.INVALID_OPTIONS: "Options of a step, backend or model are not valid for the installed plugin. "
    "Correct them: the reference of the plugins lists the options.",
    RefusalCode.KEY_AGREEMENT_FAILED: "The owners could not agree on a key. Submit the run again; if it "
    "repeats, a host or the coordinator alters messages.",
    RefusalCode.STATE_MISMATCH: "The owners do not hold the same fitted state. Nothing was released. Submit the run "
    "again; if it repeats, a host or the coordinator alters messages.",
    RefusalCode.ARTEFACT_INVALID: "An artefact does not have the digest, seal or form that it should have. Submit "
    "the run again; if it repeats, compare the versions of both sides.",
    RefusalCode.NOT_FINITE: "A value is NaN or infinite. Lower the learning rate, or look at the data.",
    RefusalCode.KEY_INVALID: "A key of the encryption backend is weak, malformed, or not the one that was announced. "
    "Submit the run again; if it repeats, a host or the coordinator alters messages.",
    RefusalCode.KEY_SPENT: "The key pair has opened as many ciphertexts as it may: each tells something of the key. "
    "Make a new pair, and encrypt under it.",
    RefusalCode.OUT_OF_RANGE: "A number, or the result of a calculation, is larger than the encryption backend can "
    "hold. Scale the data down, or choose options with more room; in a training on shares, lower the learning rate or "
    "raise `score_range`.",
    RefusalCode.MASK_REUSED: "Masks or dealt randomness of this run were used before, and are never used twice. Submit "
    "the run again: it draws new ones.",
    RefusalCode.PLUGIN_CONFINED: "A third-party plugin tried something that its process may not do, or the host "
    "cannot confine it. Ask the owner, whose log names the plugin.",
    RefusalCode.RELEASE_REFUSED: "A check that the owner has added refused to let the result leave. Ask the owner "
    "what it checks.",
    RefusalCode.RESOURCE_LIMIT: "The work exceeded the host's memory or time limit. Use fewer columns, or ask the "
    "owner to raise the worker's limits.",
    RefusalCode.WORKER_LOST: "The owner's workers ended three times during this work. See the host's log.",
    RefusalCode.STORAGE_FAILED: "The host could not write to its disk, so nothing was released. Ask the owner to "
    "make room, then submit the run again.",
    RefusalCode.STEP_FAILED: "A step failed on the owner's data. The host's own log has the detail.",
    RefusalCode.OWNER_AWAY: "The owner host did not answer before the deadline. Ask the owner to start it.",
    RefusalCode.CANCELLED: "The run was cancelled.",
    RefusalCode.INTERNAL: "An unexpected error. The detail is in the log of the side that reports it.",
}
