"""What anybody may write straight onto `events.v1`, and what must come of it (R12)."""
