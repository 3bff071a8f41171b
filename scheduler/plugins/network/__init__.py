"""Placing and ordering pods by the network between them: who talks to whom, and what it costs."""
