"""How the agent is judged: callers that measure it from the outside."""
