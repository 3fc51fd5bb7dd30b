"""What helps before the first job runs: is everything installed, which job file, will it do."""
