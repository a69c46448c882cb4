"""A fixed number of runs of the state machine: `make model` does as many as one likes."""

from __future__ import annotations

import pytest
from hypothesis import settings

from suites.delivery.machine import DeliveryMachine

DeliveryMachine.TestCase.settings = settings(max_examples=8, stateful_step_count=40, deadline=None)
TestDeliveryMachine = pytest.mark.timeout(400)(DeliveryMachine.TestCase)
