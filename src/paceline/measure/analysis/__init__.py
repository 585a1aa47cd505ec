"""From records to the report: counting, timing, judging whether to believe it."""
