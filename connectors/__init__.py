"""How segment changes leave: platforms, which do no I/O, and the deliverer, which sends them.

Words:

- *change*: one segment change, as it stands on the topic `segment-changes`;
- *destination*: one account at one platform, declared in `destinations.yaml`;
- *platform*: a module of `connectors.platforms` that builds requests and reads responses, and does no I/O;
- *parcel*: the changes that leave together in one conversation with the platform;
- *valve*: whether a destination is sent to at all (active, broken, paused).
"""
