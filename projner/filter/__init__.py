"""The filter room: sentences that are too short, too long or in another language get a status."""
