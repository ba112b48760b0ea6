"""What the exchange enforces, with time given."""

from leadline.standin.limits import Budget, Charged, Limits, MessageRate

MINUTE_NS = 60 * 10**9
NOON_NS = 1_767_268_800 * 10**9  # a whole minute


def test_a_sixth_message_within_a_second_is_one_too_many_and_a_second_later_it_is_not() -> None:
    rate = MessageRate(5)
    assert [rate.too_many(now) for now in (0.0, 0.1, 0.2, 0.3, 0.4)] == [False] * 5
    assert rate.too_many(0.99)
    fresh = MessageRate(5)
    assert not any(fresh.too_many(n * 0.25) for n in range(50))


def test_weight_is_counted_by_clock_minute_and_the_refusal_says_when_the_next_one_begins() -> None:
    budget = Budget(Limits(weight_per_minute=500))
    assert budget.charge(250, NOON_NS) == Charged(200, 250)
    assert budget.charge(250, NOON_NS) == Charged(200, 500)
    assert budget.charge(1, NOON_NS + 20 * 10**9) == Charged(429, 501, retry_after_s=40)
    assert budget.charge(250, NOON_NS + MINUTE_NS) == Charged(200, 250)


def test_going_on_after_429_is_a_ban_of_two_minutes_and_the_next_one_is_twice_as_long() -> None:
    budget = Budget(Limits(weight_per_minute=10))
    budget.charge(10, NOON_NS)
    assert [budget.charge(1, NOON_NS).status for _ in range(12)] == [429] * 11 + [418]
    banned = budget.charge(1, NOON_NS + 119 * 10**9)
    assert (banned.status, banned.retry_after_s, banned.banned_until_ms) == (418, 1, NOON_NS // 10**6 + 120_000)
    later = NOON_NS + 2 * MINUTE_NS
    assert budget.charge(10, later).status == 200
    assert [budget.charge(1, later).status for _ in range(12)] == [429] * 11 + [418]
    assert budget.banned_until_ms == later // 10**6 + 240_000
