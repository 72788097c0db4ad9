"""Sessions: parties, channels, labels, and the card every protocol carries."""

from privcompute.session.card import Card, cards, protocol
from privcompute.session.channel import Buffer, Channel
from privcompute.session.local import LocalChannel, local_pair
from privcompute.session.mailbox import Mailbox
from privcompute.session.session import Limits, Progress, Session

__all__ = [
    "Buffer",
    "Card",
    "Channel",
    "Limits",
    "LocalChannel",
    "Mailbox",
    "Progress",
    "Session",
    "cards",
    "local_pair",
    "protocol",
]
