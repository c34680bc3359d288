"""A book of segments over the past: who would have been in what, when, and what that would have cost elsewhere."""
