"""What is sent and when: the schedule, and every request as bytes, both made before a run."""
