"""What sandboxes live through, once more, with PostgreSQL beneath it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import ServerProcess
from test_idempotency import (
    test_a_destroyed_sandbox_is_remembered,
    test_a_failure_is_not_remembered,
    test_parallel_clashes_are_refused,
    test_parallel_requests_make_one_sandbox,
    test_the_same_request_gives_the_same_sandbox,
)
from test_lifecycle import (
    test_a_paused_sandbox_can_be_destroyed,
    test_a_sandbox_that_dies_is_stopped_with_a_reason,
    test_many_pauses_at_once_pause_once,
)
from test_lifetimes import (
    test_a_lease_is_renewed,
    test_create_or_get,
    test_many_are_stopped,
    test_what_was_asked_for_is_shown,
)
from test_sandboxes import (
    test_names_of_checkpoints_have_no_nul,
    test_nothing_is_found_by_nul,
    test_the_largest_labels_are_found,
    test_what_makes_no_sense_is_refused,
)
from test_texts import test_builds_that_cannot_be_kept, test_questions_that_cannot_be_asked

__all__ = [
    "test_a_destroyed_sandbox_is_remembered",
    "test_a_failure_is_not_remembered",
    "test_a_lease_is_renewed",
    "test_a_paused_sandbox_can_be_destroyed",
    "test_a_sandbox_that_dies_is_stopped_with_a_reason",
    "test_builds_that_cannot_be_kept",
    "test_create_or_get",
    "test_many_are_stopped",
    "test_many_pauses_at_once_pause_once",
    "test_names_of_checkpoints_have_no_nul",
    "test_nothing_is_found_by_nul",
    "test_parallel_clashes_are_refused",
    "test_parallel_requests_make_one_sandbox",
    "test_questions_that_cannot_be_asked",
    "test_the_same_request_gives_the_same_sandbox",
    "test_the_largest_labels_are_found",
    "test_what_makes_no_sense_is_refused",
    "test_what_was_asked_for_is_shown",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[ServerProcess]:
    """A server with a database elsewhere."""
    place = tmp_path_factory.mktemp("postgresql")
    server = ServerProcess(place, database_url=database, api_key_scopes="all")
    yield server
    assert server.stop() == 0
    assert not any("Traceback" in str(line) for line in server.lines)
