"""Pure: no Kafka, no clock, no I/O, no environment, no logging. Time is an argument."""
