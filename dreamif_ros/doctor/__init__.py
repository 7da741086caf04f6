"""What ``dreamif doctor`` looks at on this machine: functions that return findings."""
