"""Why the store cannot be used."""


class StoreError(RuntimeError):
    """The store cannot be used as it is."""


class StoreAway(ConnectionError):
    """The store does not answer. Waiting may mend it: what was to be done has to be tried again."""


class StoreRefuses(StoreAway):
    """The store answers, and does not let the daemon in: somebody has to change a setting, or its rights."""
