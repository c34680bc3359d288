"""The demo: a shop's day in time-lapse through the real thing, judged at its end."""
