"""The rules of resumable uploads, and the tests of each.

Sections are those of draft-ietf-httpbis-resumable-upload-12; tus 1.0.0 has names for its own.
"""

from __future__ import annotations

import pytest

from tests.http.tables import check_tests_exist

TUS = {
    "core: HEAD tells Upload-Offset and Upload-Length, uncached; 404 for what is unknown": """
        tus.head_tells_the_state_of_an_upload tus.head_tells_of_a_finished_upload
        tus.an_unknown_upload_is_not_found""",
    "core: PATCH appends at Upload-Offset, 409 elsewhere, 415 for another type": """
        tus.an_upload_in_two_requests tus.a_wrong_offset_is_a_conflict
        tus.an_offset_that_is_none_is_refused tus.a_patch_of_another_type_is_refused
        tus.more_bytes_than_declared_are_refused""",
    "core: as much as possible is kept of a PATCH that breaks off": """
        tus.what_came_before_a_cut_is_kept tus.one_byte_patches_make_progress""",
    "core: OPTIONS tells versions, extensions and the largest size": """
        tus.options_tell_what_there_is tus.an_upload_larger_than_files_may_be_is_refused""",
    "core: another version, or none, is 412 with Tus-Version": """
        tus.another_version_is_refused tus.a_request_without_version_is_refused""",
    "core: X-HTTP-Method-Override": """
        tus.post_overrides_the_method tus.other_overrides_are_refused""",
    "creation: Upload-Length, Upload-Metadata, an empty file": """
        tus.the_name_comes_from_the_metadata tus.metadata_that_name_no_file_are_refused
        tus.lengths_that_cannot_be_are_refused tus.an_empty_file_needs_no_patch""",
    "creation-with-upload": "tus.creation_with_upload",
    "creation-defer-length: the length comes once, later": "tus.the_length_can_come_later",
    "expiration: Upload-Expires, then 410": """
        tus.an_expired_upload_is_gone tus.without_a_byte_an_upload_lasts_minutes""",
    "checksum: 460 and nothing kept, 400 for an unknown algorithm": """
        tus.bytes_with_their_checksum_are_kept tus.bytes_with_another_checksum_are_discarded
        tus.a_checksum_that_is_none_is_refused""",
    "termination": "tus.termination",
    "concatenation: partial and final, 403 for a PATCH of a final one": """
        tus.parts_become_one_file tus.parts_of_whole_chunks_are_joined_by_their_lists
        tus.a_final_upload_takes_no_bytes tus.what_cannot_be_concatenated""",
    "of this server: a part once, HEAD waits, a concatenation ends with its client": """
        tus.what_cannot_be_concatenated tus.head_waits_for_a_concatenation
        tus.a_concatenation_ends_with_its_client""",
    "concatenation-unfinished": "tus.parts_can_be_unfinished_when_they_are_concatenated",
    "CORS": """
        cors.a_page_that_was_let_in_may_upload cors.another_page_may_not
        cors.nobody_may_unless_told""",
    "of this server: conditions, one writer, a bound, a lost last answer": """
        tus.conditions_hold_at_creation_and_at_completion tus.the_newer_of_two_requests_wins
        tus.a_storm_of_retries tus.the_total_of_unfinished_uploads_is_bounded
        tus.the_last_request_can_be_repeated_without_bytes""",
}
DRAFT = {
    "§4.1.1 Upload-Offset, §4.1.2 Upload-Complete; fields that are malformed are void": """
        ietf.head_tells_offset_and_completeness ietf.all_bytes_are_not_completeness
        ietf.fields_that_are_malformed_count_as_missing""",
    "§4.1.3 Upload-Length, and other lengths that must agree with it": """
        ietf.lengths_of_one_request_must_agree
        ietf.a_length_that_does_not_fit_voids_the_upload
        ietf.so_does_one_that_shows_as_bytes_come
        ietf.a_stale_or_malformed_request_voids_nothing""",
    "§4.1.4 Upload-Limit, also in a refusal for a limit": """
        ietf.limits_are_told ietf.too_much_unfinished_tells_the_limits
        ietf.without_a_byte_an_upload_lasts_minutes""",
    "§4.2 creation, whole, in part or empty": """
        ietf.an_upload_in_several_requests ietf.an_empty_upload
        ietf.a_name_that_cannot_be_is_refused_at_creation
        ietf.a_plain_put_leaves_nothing_when_it_is_cut""",
    "§4.3 the offset, to HEAD and GET; before draft 12, 400 for who tells it": """
        ietf.get_tells_what_head_does ietf.who_asks_for_the_offset_tells_none
        ietf.head_tells_offset_and_completeness ietf.what_came_before_a_cut_is_kept""",
    "§4.4 appending: application/partial-upload, 409 with the offset, nothing once complete": """
        ietf.a_patch_of_another_type_is_refused ietf.a_wrong_offset_is_a_conflict
        ietf.a_complete_upload_takes_nothing_more
        ietf.every_refused_append_tells_the_state""",
    "§4.5 cancellation": "ietf.cancellation",
    "concurrency: the newest request wins": """
        tus.the_newer_of_two_requests_wins tus.a_storm_of_retries""",
    "§5 104, only for who asks": """
        ietf.who_asks_hears_of_the_upload_early ietf.nothing_is_told_early_unless_asked
        ietf.http_1_0_hears_nothing_early""",
    "digests of a request and of the whole (RFC 9530)": """
        ietf.the_digest_of_one_request_is_checked
        ietf.the_digest_of_the_whole_is_checked""",
    "of this server: conditions, expiry, both dialects on one upload": """
        ietf.conditions_hold_at_completion ietf.an_expired_upload_is_gone
        ietf.an_upload_belongs_to_no_dialect""",
}


@pytest.mark.parametrize("rule", TUS)
def test_each_rule_of_tus_has_its_tests(rule: str) -> None:
    check_tests_exist(TUS[rule])


@pytest.mark.parametrize("rule", DRAFT)
def test_each_rule_of_the_draft_has_its_tests(rule: str) -> None:
    check_tests_exist(DRAFT[rule])
