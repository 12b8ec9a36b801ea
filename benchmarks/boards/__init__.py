"""Results of boards: contributed by their owners, or predicted from counted instructions."""
