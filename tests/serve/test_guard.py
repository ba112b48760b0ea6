"""Who may come in by HTTP, and how often: wrong tokens too."""

from tests.fakes import FakeClock, run
from tests.serve.web import NOW_NS, web

from leadline.serve.guard import Rules


def test_whoever_guesses_at_the_token_has_no_more_tries_than_others_have_requests():
    """Burst 3, one each 2 s: wrong tokens and bodies that are too large take their turn like anybody."""

    async def check() -> None:
        clock = FakeClock(NOW_NS)
        async with web(Rules(token="secret", rate_per_s=0.5, burst=3, body_bytes_max=100), clock=clock) as client:

            async def tried(token: str, body: bytes = b"") -> int:
                status, headers, told = await client.ask(
                    "GET", "/api/tools", data=body, headers={"Authorization": f"Bearer {token}"}
                )
                if status == 429:
                    assert (told["error"], told["fields"], headers["Retry-After"]) == ("Overloaded", {"retry_after_s": 2.0}, "2")
                return status

            assert [await tried(f"guess {n}") for n in range(5)] == [401, 401, 401, 429, 429]
            assert await tried("secret") == 429, "that it was right is not told either"
            clock.now += 4
            assert [await tried("secret", b"x" * 101), await tried("secret"), await tried("secret")] == [413, 200, 429]

    run(check())
