"""Export: a run's labels in the formats that other tools read, one module a format."""
