"""Media plumbing: what lies between packets on the wire and samples in the house."""
