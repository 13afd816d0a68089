"""What the options of a provider take, and what they say of anything else."""

from __future__ import annotations

import pytest

from deployer.environment.settings import Given
from deployer.providers.manifest import Option


@pytest.mark.parametrize("given", [[80, 443], Given("80,443"), Given(" 80, 443 ,")])
def test_ports_come_as_a_list_or_as_text_with_commas(given: object) -> None:
    assert Option(type="ports").check(given) == [80, 443]


@pytest.mark.parametrize("given", [80, "80", [0], [65536], ["http"], [True], Given("http")])
def test_what_is_no_list_of_ports_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="port"):
        Option(type="ports").check(given)
