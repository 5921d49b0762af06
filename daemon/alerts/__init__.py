"""How alarms become messages: incidents, silences, wording, the outbox and its sender."""
