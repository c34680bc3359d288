"""Faust meets Kafka here and nowhere else."""
