from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.settings import Address, address, boolean, duration, duration_text, fraction, network, rate, rate_text, size, size_text, span


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("10s", 10.0), ("1.5s", 1.5), ("5m", 300.0), ("24h", 86400.0), ("7d", 604800.0), ("0s", 0.0)]
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    """A number and a unit give seconds."""
    assert duration(text) == seconds


@pytest.mark.parametrize("wrong", ["10", 10, 1.5, "", "s", "-1s", "1 s", "1S", "1e3s", "1s ", "inf s", None, True])
def test_a_duration_needs_a_number_and_a_unit(wrong: object) -> None:
    """Nothing without a clear unit is guessed at."""
    with pytest.raises(ValueError, match="must be a duration"):
        duration(wrong)


@given(st.integers(min_value=0, max_value=10**12))
def test_durations_survive_being_written(millis: int) -> None:
    """Writing and reading a duration of whole milliseconds gives it back."""
    assert round(duration(duration_text(millis / 1000)) * 1000) == millis


@given(st.integers(min_value=0, max_value=1 << 50))
def test_sizes_survive_being_written(count: int) -> None:
    """Writing and reading a size gives it back."""
    assert size(size_text(count)) == count


@given(st.integers(min_value=1, max_value=10**6), st.sampled_from("smhd"))
def test_rates_survive_being_written(count: int, unit: str) -> None:
    """Writing and reading a rate gives it back."""
    per_second = rate(f"{count}/{unit}")
    assert rate(rate_text(per_second)) == pytest.approx(per_second)


@pytest.mark.parametrize("wrong", ["64 KiB", "64kb", "-1", -1, True, None, "KiB", 1.5])
def test_a_size_is_whole_bytes_with_a_binary_unit(wrong: object) -> None:
    """Decimal units, fractions and negative sizes are refused."""
    with pytest.raises(ValueError, match="must be a size"):
        size(wrong)


@pytest.mark.parametrize(("written", "value"), [("1%", 0.01), ("100%", 1.0), (0.25, 0.25), (1, 1.0), ("0.5", 0.5)])
def test_fractions_may_be_percentages(written: object, value: float) -> None:
    """`1%` and `0.01` mean the same."""
    assert fraction(written) == pytest.approx(value)


@pytest.mark.parametrize("wrong", ["101%", 1.01, -0.1, "nan", "", True, None, "half"])
def test_a_fraction_lies_between_nought_and_one(wrong: object) -> None:
    """Not-a-number and booleans are no fractions either."""
    with pytest.raises(ValueError, match="must be a fraction"):
        fraction(wrong)


def test_a_span_is_not_zero() -> None:
    """A time-out of nothing would fail every request."""
    with pytest.raises(ValueError, match="longer than 0"):
        span("0ms")


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "[::1]:8080", "localhost:0", "0.0.0.0:65535"])
def test_addresses_survive_being_written(text: str) -> None:
    """An address is written the way it is read."""
    assert str(address(text)) == text


@pytest.mark.parametrize("wrong", ["8080", ":8080", "host:", "host:65536", "::1:8080", "http://host:80", 8080, None])
def test_an_address_has_host_and_port(wrong: object) -> None:
    """A port alone never becomes all interfaces."""
    with pytest.raises(ValueError, match="must be a host and a port"):
        address(wrong)


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("db", False)])
def test_only_this_machine_is_loopback(host: str, local: bool) -> None:
    """A name other than localhost may lead anywhere."""
    assert Address(host, 1).loopback is local


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy", "10.0.0.0/33", None, {}])
def test_a_network_has_no_host_bits(wrong: object) -> None:
    """`10.0.0.1/8` is more likely a slip than eight million trusted machines."""
    with pytest.raises(ValueError, match="must be a network"):
        network(wrong)


@pytest.mark.parametrize("wrong", ["yes", "on", "True", 1, 0, None, []])
def test_only_true_and_false_are_booleans(wrong: object) -> None:
    """YAML 1.1's other words for true do not count."""
    with pytest.raises(ValueError, match="must be true or false"):
        boolean(wrong)


def test_text_from_the_environment_can_be_a_boolean() -> None:
    """`${NAME}` always gives text."""
    assert boolean("true") is True
    assert boolean("false") is False
