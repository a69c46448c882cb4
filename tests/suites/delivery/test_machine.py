"""A few runs of the state machine, always the same: `make model` does as many others as one likes."""

from __future__ import annotations

import pytest
from hypothesis import settings

from suites.delivery.machine import DeliveryMachine

DeliveryMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=40, deadline=None, derandomize=True)
TestDeliveryMachine = pytest.mark.timeout(400)(DeliveryMachine.TestCase)
