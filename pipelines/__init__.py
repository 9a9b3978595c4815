"""The assembly: one conversation as a pipeline, and its front doors."""
