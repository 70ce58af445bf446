"""What holds for every test: no property is judged by how long it took."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("trailseal", deadline=None)
settings.load_profile("trailseal")
