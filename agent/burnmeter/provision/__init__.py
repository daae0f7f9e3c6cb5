"""What burnmeter writes for others: rules, dashboards. Empty until those verbs exist."""
