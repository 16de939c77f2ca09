"""The command `setpoint`. Talks to a running service over REST; what can work without one reads files."""
