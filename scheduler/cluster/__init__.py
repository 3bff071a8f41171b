"""The shell round the engine on a real cluster: watches, asks, binds, reports, feeds back.

``shell`` holds the one thread that calls the engine; everything else here is its hands: ``inbox``
brings news in, ``binder`` and ``reporter`` write to the API server, ``predictions`` asks the
predictor and ``feedback`` tells it how placements went.
"""
