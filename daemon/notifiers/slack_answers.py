"""What Slack's answers, and its silences, mean for the sender."""

from http import HTTPStatus
from typing import Final

from daemon.notifiers.base import Failed, Outcome, Problem, RetryLater

DEFAULT_WAIT_SECONDS: Final = 30.0
"""Where Slack limits the rate and does not say for how long."""
LONGEST_WAIT_SECONDS: Final = 3600.0
_LONGEST_WORD: Final = 60

_CREDENTIALS: Final = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission"}
    | {"missing_scope", "not_allowed_token_type", "org_login_required", "ekm_access_denied", "access_denied"}
    | {"team_access_not_granted", "invalid_token", "no_service", "no_service_id", "no_team", "no_active_hooks"}
    | {"team_disabled", "enterprise_is_restricted", "two_factor_setup_required"}
)
_CHANNEL: Final = frozenset(
    {"channel_not_found", "not_in_channel", "is_archived", "channel_is_archived", "action_prohibited"}
    | {"restricted_action", "restricted_action_read_only_channel", "restricted_action_non_threadable_channel"}
    | {"restricted_action_thread_only_channel", "user_not_found", "posting_to_general_channel_denied"}
    | {"team_not_found", "messages_tab_disabled"}
)
_MESSAGE: Final = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text", "invalid_payload"}
    | {
        "missing_text_or_fallback_or_attachments",
        "invalid_arguments",
        "invalid_arg_name",
        "invalid_json",
        "json_not_object",
    }
    | {"cannot_reply_to_message", "thread_not_found", "markdown_text_conflict", "too_many_attachments"}
)
_RATE: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded", "accesslimited"})
# Slack says of these that part of the work may have been done
_MAYBE_DONE: Final = frozenset({"internal_error", "fatal_error", "request_timeout", "rollup_error", "timeout"})
_NOT_DONE: Final = frozenset({"service_unavailable", "team_added_to_org"})
GONE: Final = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "cant_broadcast_message"})
"""The message that was to be edited is not there any more, or not ours."""


def answered(
    status: int, said: str, *, retry_after: str | None, credentials_hint: str, channel_hint: str, repeatable: bool
) -> Outcome:
    """What an answer other than success means.

    ``said`` is Slack's own word for the error, or whatever else the answer held. ``repeatable`` says that doing it
    twice is doing it once, so that nothing is ever in doubt.
    """
    word = _word(said)
    if status == HTTPStatus.TOO_MANY_REQUESTS or word in _RATE:
        return RetryLater(Problem.RATE_LIMITED, "Slack limits the rate", _seconds(retry_after))
    if word in _CREDENTIALS:
        return Failed(Problem.CREDENTIALS, f"Slack answers {word}: {credentials_hint}", permanent=True)
    if word in _CHANNEL:
        return Failed(Problem.CHANNEL, f"Slack answers {word}: {channel_hint}", permanent=True)
    if word in _MESSAGE:
        return Failed(Problem.MESSAGE, f"Slack answers {word}", permanent=False)
    return _unwell(status, word, retry_after, repeatable=repeatable)


def _unwell(status: int, word: str, retry_after: str | None, *, repeatable: bool) -> Outcome:
    if status == HTTPStatus.SERVICE_UNAVAILABLE or word in _NOT_DONE:
        seconds = _seconds(retry_after) if retry_after else None
        return RetryLater(Problem.UNAVAILABLE, "Slack is not available", seconds)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or word in _MAYBE_DONE:
        return RetryLater(Problem.UNAVAILABLE, f"Slack answers {word or status}", maybe_sent=not repeatable)
    if status == HTTPStatus.OK and not word:
        # something between us and Slack speaks in its place
        return RetryLater(Problem.NO_ANSWER, "the answer is not Slack's", maybe_sent=not repeatable)
    return Failed(Problem.UNKNOWN, f"Slack answers {word or status}", permanent=True)


def unanswered(error: BaseException, *, repeatable: bool) -> Outcome:
    """What an exception in place of an answer means. Its text is not passed on: it may hold the address."""
    import aiohttp

    name = type(error).__name__
    # a connection that was never made cannot have carried anything; whatever comes later is in doubt
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return RetryLater(Problem.UNREACHABLE, f"no connection to Slack ({name})")
    if isinstance(error, aiohttp.InvalidURL):
        return Failed(Problem.CREDENTIALS, "the address set for Slack is no web address", permanent=True)
    return RetryLater(Problem.NO_ANSWER, f"no answer from Slack ({name})", maybe_sent=not repeatable)


def _seconds(retry_after: str | None) -> float:
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return DEFAULT_WAIT_SECONDS
    return min(max(seconds, 1.0), LONGEST_WAIT_SECONDS) if seconds == seconds else DEFAULT_WAIT_SECONDS  # noqa: PLR0124


def _word(said: str) -> str:
    """A word of Slack's; empty for anything longer: a proxy may answer with a page that quotes the address."""
    return said if said.isidentifier() and len(said) <= _LONGEST_WORD else ""
