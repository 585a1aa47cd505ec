"""The report for people and for other programs: terminal, HTML, CSV, JUnit."""
