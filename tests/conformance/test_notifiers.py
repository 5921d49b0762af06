"""What every notifier promises, whatever the service does."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from slack_server import Fault, SlackServer

from daemon import logs
from daemon.notifiers import registry
from daemon.notifiers.base import Delivery, Failed, Manner, Notifier, Outcome, Problem, Ref, RetryLater, Sent
from daemon.notifiers.log import LogNotifier
from daemon.notifiers.message import Action, ActionName, Item, Message, Section, Tone
from daemon.notifiers.slack_bot import SlackBot
from daemon.notifiers.slack_webhook import SlackWebhook
from daemon.settings import LogFormat, LogLevel

HOSTILE = "<!channel> <@U1> & *bold* `code` \u202e\n\x1b[31mforged"
MESSAGE = Message(
    Tone.CRITICAL,
    "loans: the model errs more often",
    "error rate 0.10 -> 0.21 since 14:02 UTC (row 20,031); what moved: income",
    (Section("What moved", (Item("income", 1_700_000_000.0), Item(HOSTILE))),),
    "http://127.0.0.1:6066/#loans",
    (Action(ActionName.SILENCE, "Silence", "1"),),
)
HUGE = Message(
    Tone.WARNING,
    "m" * 5000,
    "&<>" * 5000,
    tuple(Section("s" * 4000, tuple(Item("<" * 1000, float(i)) for i in range(20))) for _ in range(60)),
    "http://host/" + "&" * 4000,
    tuple(Action(ActionName.ACKNOWLEDGE, "l" * 300, "v" * 5000) for _ in range(2)),
)


@dataclass
class Case:
    """How to make one notifier, and how to read what its reader saw."""

    make: Callable[[SlackServer], Notifier]
    unwelcome: Callable[[SlackServer], Notifier] | None = None
    secrets: tuple[str, ...] = ()


CASES = {
    "log": Case(lambda _server: LogNotifier()),
    "slack_bot": Case(
        lambda server: SlackBot(server.token, "#alerts", interactive=True, base_url=server.api_url, timeout=5),
        lambda server: SlackBot("xoxb-revoked-secret", "#alerts", base_url=server.api_url, timeout=5),
        (SlackServer.token, "xoxb-revoked-secret"),
    ),
    "slack_webhook": Case(
        lambda server: SlackWebhook(server.webhook_url, timeout=5),
        lambda server: SlackWebhook(server.webhook_url.replace(server.secret, "revoked-secret"), timeout=5),
        (SlackServer.secret, "revoked-secret"),
    ),
}
ALL = sorted(registry.NOTIFIERS)
OVER_THE_WIRE = [name for name in ALL if CASES[name].secrets]


@dataclass
class Clock:
    """The server's clock, which a test moves."""

    seconds: float = 0.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SlackServer]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with SlackServer(now=Clock()) as one:
        yield one


@pytest.fixture
def written(logging_as_before: None) -> io.StringIO:
    """All that is logged, at the level that says most."""
    stream = io.StringIO()
    logs.configure(LogLevel.DEBUG, LogFormat.JSON, stream=stream, environ={})
    return stream


def test_every_notifier_has_a_case() -> None:
    assert set(CASES) == set(registry.NOTIFIERS)


@pytest.mark.parametrize("name", ALL)
def test_a_name_belongs_to_one_notifier(name: str) -> None:
    assert registry.NOTIFIERS[name].name == name


@pytest.mark.parametrize("name", ALL)
async def test_a_message_arrives_and_can_be_edited_and_replied_to_where_it_says_so(
    name: str, server: SlackServer, written: io.StringIO
) -> None:
    notifier = CASES[name].make(server)
    first = await notifier.send(Delivery(MESSAGE))
    assert isinstance(first, Sent)
    assert (first.ref is not None) == notifier.threads
    if first.ref is not None:
        edited = Message(Tone.OVER, "loans: over", "")
        assert await notifier.send(Delivery(edited, Manner.EDIT, first.ref)) == first
        assert isinstance(await notifier.send(Delivery(MESSAGE, Manner.REPLY, first.ref, loud=True)), Sent)
        top, reply = server.messages
        assert (top.text, top.edits) == ("loans: over", 1)
        assert (reply.thread_ts, reply.broadcast) == (top.ts, True)
    await notifier.close()
    await notifier.close()
    seen = written.getvalue() + "".join(message.all_text() for message in server.messages)
    assert "the model errs more often" in seen
    assert "what moved: income" in seen


@pytest.mark.parametrize("name", ALL)
async def test_names_cannot_mention_anybody_or_forge_a_line(
    name: str, server: SlackServer, written: io.StringIO
) -> None:
    notifier = CASES[name].make(server)
    hostile = Message(Tone.WARNING, f"{HOSTILE}: moved", HOSTILE, MESSAGE.sections, f"http://h/{HOSTILE}")
    await notifier.send(Delivery(hostile))
    for posted in server.messages:
        assert "<!channel" not in posted.text
        assert "<@" not in posted.text
        for block in posted.blocks:
            markup = block["type"] in ("section", "context")
            assert not (markup and ("<!channel" in str(block) or "<@" in str(block)))
            assert block["type"] != "section" or block["text"]["verbatim"]
        assert "\u202e" not in posted.all_text()
        assert "\x1b" not in posted.all_text()
    lines = written.getvalue().splitlines()
    assert not any(line.lstrip().startswith("forged") or "\x1b" in line for line in lines)


@pytest.mark.parametrize("name", ALL)
async def test_the_longest_message_is_cut_to_what_the_service_takes(name: str, server: SlackServer) -> None:
    assert isinstance(await CASES[name].make(server).send(Delivery(HUGE)), Sent)
    assert not server.refusals


@pytest.mark.parametrize("name", ALL)
async def test_a_repeat_is_marked(name: str, server: SlackServer, written: io.StringIO) -> None:
    await CASES[name].make(server).send(Delivery(MESSAGE, maybe_sent=True))
    seen = written.getvalue() + "".join(message.all_text() for message in server.messages)
    assert "may be a repeat" in seen


@pytest.mark.parametrize("name", OVER_THE_WIRE)
@pytest.mark.parametrize(
    ("fault", "problem", "maybe_sent"),
    [
        (Fault.RATE, Problem.RATE_LIMITED, False),
        (Fault.UNAVAILABLE, Problem.UNAVAILABLE, False),
        (Fault.INTERNAL, Problem.UNAVAILABLE, True),
        (Fault.BAD_GATEWAY, Problem.UNAVAILABLE, True),
        (Fault.DROPPED, Problem.NO_ANSWER, True),
        (Fault.LOST, Problem.NO_ANSWER, True),
        (Fault.GARBAGE, Problem.NO_ANSWER, True),
    ],
)
async def test_a_fault_is_told_once_and_told_right(
    name: str, fault: Fault, problem: Problem, maybe_sent: bool, server: SlackServer
) -> None:
    server.faults.append(fault)
    server.retry_after = 7
    outcome = await CASES[name].make(server).send(Delivery(MESSAGE))
    assert isinstance(outcome, RetryLater)
    assert outcome.problem is problem
    assert outcome.maybe_sent is maybe_sent
    assert outcome.seconds == (7.0 if fault is Fault.RATE else None)
    assert len(server.messages) == (1 if fault is Fault.LOST else 0), "one try, and no more"


@pytest.mark.parametrize("name", OVER_THE_WIRE)
async def test_nothing_is_in_doubt_where_no_connection_was_made(name: str, server: SlackServer) -> None:
    notifier = CASES[name].make(server)
    await server.down()
    outcome = await notifier.send(Delivery(MESSAGE))
    assert isinstance(outcome, RetryLater)
    assert (outcome.problem, outcome.maybe_sent) == (Problem.UNREACHABLE, False)


@pytest.mark.parametrize("name", OVER_THE_WIRE)
async def test_what_no_retry_can_mend_says_what_to_do(name: str, server: SlackServer) -> None:
    unwelcome = CASES[name].unwelcome
    assert unwelcome is not None
    outcome = await unwelcome(server).send(Delivery(MESSAGE))
    assert isinstance(outcome, Failed)
    assert (outcome.problem, outcome.permanent) == (Problem.CREDENTIALS, True)
    assert "DRIFTD_SLACK_" in outcome.hint
    server.archived.add("C0ALERTS")
    outcome = await CASES[name].make(server).send(Delivery(MESSAGE))
    assert isinstance(outcome, Failed)
    assert (outcome.problem, outcome.permanent) == (Problem.CHANNEL, True)
    assert "channel" in outcome.hint


async def test_a_message_that_was_deleted_is_posted_anew(server: SlackServer) -> None:
    outcome = await CASES["slack_bot"].make(server).send(Delivery(MESSAGE, Manner.EDIT, Ref("C0ALERTS", "1.0")))
    assert isinstance(outcome, Sent)
    assert outcome.ref is not None
    assert [message.ts for message in server.messages] == [outcome.ref.ts]


async def test_an_edit_is_never_in_doubt(server: SlackServer) -> None:
    notifier = CASES["slack_bot"].make(server)
    first = await notifier.send(Delivery(MESSAGE))
    assert isinstance(first, Sent)
    server.faults += [Fault.LOST, Fault.INTERNAL]
    for _ in range(2):
        outcome = await notifier.send(Delivery(MESSAGE, Manner.EDIT, first.ref))
        assert isinstance(outcome, RetryLater)
        assert not outcome.maybe_sent
    await notifier.send(Delivery(MESSAGE, Manner.EDIT, first.ref, maybe_sent=True))
    assert "repeat" not in server.messages[0].all_text()


async def test_buttons_are_drawn_only_where_somebody_listens(server: SlackServer) -> None:
    deaf = SlackBot(server.token, "#alerts", base_url=server.api_url, timeout=5)
    await deaf.send(Delivery(MESSAGE))
    await CASES["slack_bot"].make(server).send(Delivery(MESSAGE))
    kinds = [[block["type"] for block in message.blocks] for message in server.messages]
    assert "actions" not in kinds[0]
    assert "actions" in kinds[1]


async def say_it(notifier: Notifier) -> Outcome:
    return await notifier.send(Delivery(MESSAGE))


async def fail_every_way(server: SlackServer, try_once: Callable[[], Awaitable[Outcome]]) -> list[Outcome]:
    """What comes of a try under each fault, and with nobody there."""
    outcomes = []
    for fault in [None, *Fault]:
        server.fault = fault
        outcomes.append(await try_once())
    server.fault = None
    await server.down()
    outcomes.append(await try_once())
    await server.up()
    return outcomes


@pytest.mark.parametrize("name", ALL)
async def test_no_secret_is_ever_said(name: str, server: SlackServer, written: io.StringIO) -> None:
    case = CASES[name]
    for make in filter(None, (case.make, case.unwelcome)):
        notifier = make(server)
        outcomes = await fail_every_way(server, lambda notifier=notifier: say_it(notifier))
        said = written.getvalue() + repr(notifier) + str(notifier) + repr(outcomes) + str(outcomes)
        for secret in case.secrets:
            assert secret not in said


@pytest.mark.parametrize("name", OVER_THE_WIRE)
async def test_a_secret_that_is_no_address_or_no_token_is_not_said_either(
    name: str, server: SlackServer, written: io.StringIO
) -> None:
    secret = "not an address: hush\n"
    notifier = SlackWebhook(secret) if name == "slack_webhook" else SlackBot(secret, "#alerts", base_url=server.api_url)
    outcome = await say_it(notifier)
    assert not isinstance(outcome, Sent)
    assert "hush" not in written.getvalue() + repr(notifier) + repr(outcome)


def test_the_settings_choose_the_notifier() -> None:
    assert registry.choose().name == "log"
    assert registry.choose(webhook_url="http://x").name == "slack_webhook"
    assert registry.choose(bot_token="xoxb", channel="#c", webhook_url="http://x").name == "slack_bot"
    with pytest.raises(ValueError, match="DRIFTD_SLACK_CHANNEL"):
        registry.choose(bot_token="xoxb")
