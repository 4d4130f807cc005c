"""The wire contract by a Distributor in two processes: what it says of reading and posting holds at each of them.

The whole contract is held to several processes by ``SDP_TEST_WORKERS=2 pytest tests/system -k contract``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.conftest import running
from tests.system.processes import Distributor
from tests.system.test_contract_corners import (
    test_a_live_answer_is_followed_by_the_next_request,
    test_consumers_that_vanish_are_forgotten,
    test_several_forms_of_one_live_stream_at_once,
)
from tests.system.test_contract_getting import (
    test_a_record_that_is_still_coming_comes_in_parts,
    test_a_single_range_runs_on_without_a_gap,
    test_random_access_of_a_post_counts_alone_once_it_is_said,
    test_the_initialization_segment_is_sent_where_it_is_lacking,
    test_who_has_all_up_to_b_goes_on_after_it,
    test_who_has_nothing_gets_the_initialization_and_the_newest_join_point,
    test_without_a_known_format_each_post_is_a_record,
)
from tests.system.test_contract_handshake import (
    test_answers_come_in_the_order_of_the_requests,
    test_requests_may_follow_the_handshake_in_the_same_packet,
)
from tests.system.test_contract_reading import (
    test_a_plain_get_of_a_live_stream,
    test_the_media_type_is_found_in_the_first_bytes,
)

pytestmark = pytest.mark.system

__all__ = [
    "test_a_live_answer_is_followed_by_the_next_request",
    "test_a_plain_get_of_a_live_stream",
    "test_a_record_that_is_still_coming_comes_in_parts",
    "test_a_single_range_runs_on_without_a_gap",
    "test_answers_come_in_the_order_of_the_requests",
    "test_consumers_that_vanish_are_forgotten",
    "test_random_access_of_a_post_counts_alone_once_it_is_said",
    "test_requests_may_follow_the_handshake_in_the_same_packet",
    "test_several_forms_of_one_live_stream_at_once",
    "test_the_initialization_segment_is_sent_where_it_is_lacking",
    "test_the_media_type_is_found_in_the_first_bytes",
    "test_who_has_all_up_to_b_goes_on_after_it",
    "test_who_has_nothing_gets_the_initialization_and_the_newest_join_point",
    "test_without_a_known_format_each_post_is_a_record",
]


@pytest.fixture(scope="module")
def distributor() -> Iterator[Distributor]:
    """A Distributor in two processes, in the place of the usual one."""
    yield from running(Distributor("--idle-timeout", "20", "--workers", "2"))


@pytest.fixture(autouse=True, params=range(3))
def again() -> None:
    """Which process takes a connection is up to the kernel: each test has three tries at both."""
