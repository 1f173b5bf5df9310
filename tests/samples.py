"""Values that many tests need, and the strategies that draw random ones."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from simpleworkflow.core.records import Claim

QUICK = settings(max_examples=20, deadline=None, database=None)
"""Few examples: the whole of tests/core is run at every save, in under a second."""

A_RUN_ID = "0b9d7c52-5a8e-4a9b-8f43-0d8a4c6d2f10"

type_text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00%"), min_size=1, max_size=6
)
"""Types of any letters that a type may have."""

crowded_text = st.text(st.sampled_from("a._b\x01\U0010ffff\ud7ff\ue000"), min_size=1, max_size=4)
"""Types of few letters, the edges of Unicode among them, so that prefixes often meet."""

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(
                st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
"""What JSON can hold in every store."""


def a_claim(**fields: Any) -> Claim:
    """A claim of a first attempt out of three, with these fields changed."""
    values: dict[str, Any] = {
        "run_id": A_RUN_ID,
        "worker_id": "worker-1",
        "fence": 1,
        "type": "billing.invoice.v1",
        "payload_json": "{}",
        "headers_json": None,
        "attempt": 0,
        "max_attempts": 3,
        "waited": 0.0,
    }
    return Claim(**values | fields)
