"""What a fleet needs besides the agents: rules, their tests, backtests and canary verdicts."""
