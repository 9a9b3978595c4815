"""Who is speaking and how a conversation goes: personas, turn-taking, memory, the LLM turn."""
