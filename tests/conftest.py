"""What holds for every test: no property is judged by how long it took."""

from __future__ import annotations

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("flow.attack_contract")

settings.register_profile("trailseal", deadline=None)
settings.load_profile("trailseal")
