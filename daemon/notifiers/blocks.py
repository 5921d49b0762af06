"""A Message in Slack's Block Kit, within Slack's limits."""

from typing import Any, Final

from daemon.notifiers.message import REPEAT_NOTICE, Action, Item, Message, Section, Tone, clean, clock_time, cut

MOST_BLOCKS: Final = 50
HEADER_LENGTH: Final = 150
SECTION_LENGTH: Final = 3000
FALLBACK_LENGTH: Final = 4000
LABEL_LENGTH: Final = 75
VALUE_LENGTH: Final = 2000
LINE_LENGTH: Final = 300
"""Not Slack's limit but a reader's: a longer line is no line."""

_ICONS: Final = {Tone.CRITICAL: "🔴", Tone.WARNING: "🟠", Tone.OVER: "🟢", Tone.NEWS: "🔵"}
_LATEST_DATE: Final = 4_102_444_800  # the year 2100; beyond it Slack shows nothing


def escape(text: str) -> str:
    """Words that Slack shows as they are: ``&``, ``<`` and ``>`` would start links, mentions and ``<!channel>``."""
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fallback(message: Message, *, maybe_sent: bool = False) -> str:
    """The text of the notification on a phone, and of the whole message where blocks cannot be shown."""
    notice = f" ({REPEAT_NOTICE})" if maybe_sent else ""
    return _cut_escaped(escape(message.headline), FALLBACK_LENGTH - len(notice)) + notice


def blocks(message: Message, *, maybe_sent: bool = False, interactive: bool = False) -> list[dict[str, Any]]:
    """The message as blocks; with ``interactive`` its actions become buttons."""
    title = cut(f"{_ICONS[message.tone]} {clean(message.title)}", HEADER_LENGTH)
    # no emoji codes: a feature may be named :fire:
    head: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}}]
    if message.summary:
        head.append(_words(escape(message.summary)))
    tail: list[dict[str, Any]] = []
    if interactive and message.actions:
        tail.append({"type": "actions", "elements": [_button(action) for action in message.actions]})
    link = f"<{_url(message.link)}|Status page>" if message.link else ""
    notes = [link] if 0 < len(link) <= SECTION_LENGTH else []
    notes += [REPEAT_NOTICE] if maybe_sent else []
    if notes:
        tail.append({"type": "context", "elements": [{"type": "mrkdwn", "text": note} for note in notes]})
    body = [_section(section) for section in message.sections if section.items]
    return [*head, *body[: MOST_BLOCKS - len(head) - len(tail)], *tail]


def _section(section: Section) -> dict[str, Any]:
    lines = [f"*{escape(section.title)}*", *(f"• {_line(item)}" for item in section.items)]
    kept: list[str] = []
    room = SECTION_LENGTH
    for number, line in enumerate(lines):
        more = f"• and {len(lines) - number} more"
        if len(line) + 1 + len(more) + 1 > room and number < len(lines) - 1:
            kept.append(more)
            break
        kept.append(line)
        room -= len(line) + 1
    return _words("\n".join(kept))


def _line(item: Item) -> str:
    text = _cut_escaped(escape(item.text), LINE_LENGTH)
    if item.at is None:
        return text
    utc = clock_time(item.at)
    if not 0 < item.at < _LATEST_DATE:
        return f"{utc}: {text}"
    return f"<!date^{int(item.at)}^{{date_short_pretty}} {{time}}|{utc}>: {text}"


def _words(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut_escaped(text, SECTION_LENGTH), "verbatim": True}}


def _cut_escaped(text: str, limit: int) -> str:
    """Cut, but never in the middle of an entity such as ``&lt;``."""
    short = cut(text, limit)
    start = short.rfind("&")
    if short != text and start >= 0 and ";" not in short[start:]:
        return short[:start] + "…"
    return short


def _url(link: str) -> str:
    return clean(link).replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")


def _button(action: Action) -> dict[str, Any]:
    return {
        "type": "button",
        "action_id": f"driftd.{action.name}",
        "text": {"type": "plain_text", "text": cut(clean(action.label), LABEL_LENGTH), "emoji": False},
        "value": action.value[:VALUE_LENGTH],
    }
