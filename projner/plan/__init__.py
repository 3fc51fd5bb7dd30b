"""What a large job will take: each stage measured on a sample, and arithmetic on that."""
