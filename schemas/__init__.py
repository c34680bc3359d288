"""The words: what goes over the wire, and the registry of topics. Imports nothing of ours."""
