"""What every `QueryCache` does; each adapter runs it as it is, with a `cache` fixture of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from trailseal.ports.cache import Found, QueryCache


class CacheContract:
    """Fixtures to provide: `cache` (empty; `writer_here(present=True)` already said) and `let_pass` (time)."""

    @pytest.fixture
    def cache(self) -> QueryCache:
        raise NotImplementedError

    def let_pass(self, seconds: float) -> None:
        """Return when that much of the cache's own time has passed."""
        raise NotImplementedError

    @staticmethod
    def look(cache: QueryCache, question: str = "q", *names: str) -> Found:
        """What the cache says; with a lease of no length to speak of, so that looking keeps nobody waiting."""
        found = cache.find(question, names or ("a",), 0.001)
        assert found is not None
        return found

    def mark(self, cache: QueryCache, *names: str) -> str:
        return self.look(cache, "mark", *names).mark

    def put(self, cache: QueryCache, question: str, value: bytes, ttl_s: float = 60, earlier_s: float = 60) -> None:
        cache.keep(question, self.look(cache, question), value, ttl_s, earlier_s)

    def test_a_value_is_found_as_it_was_kept(self, cache: QueryCache) -> None:
        assert self.look(cache).value is None
        self.put(cache, "q", b"\x00\xff value")
        found = self.look(cache)
        assert (found.value, found.claim) == (b"\x00\xff value", None)
        assert self.look(cache, "other").value is None
        cache.keep("q", found, b"", 60, 60)
        assert self.look(cache).value == b""

    def test_a_value_ends_with_its_life(self, cache: QueryCache) -> None:
        self.put(cache, "short", b"1", 0.2, 0.2)
        self.put(cache, "long", b"2", 60, 0.2)
        self.let_pass(0.4)
        assert self.look(cache, "short").value is None
        assert self.look(cache, "long").value == b"2"
        assert cache.earlier("long") is None

    def test_a_value_without_a_life_is_not_kept(self, cache: QueryCache) -> None:
        self.put(cache, "q", b"1", 0)
        assert self.look(cache).value is None
        assert cache.earlier("q") is None

    def test_a_renewed_token_hides_the_value_which_stays_for_bad_days(self, cache: QueryCache) -> None:
        self.put(cache, "q", b"1", 0.2, 60)
        assert cache.renew(["a"])
        assert self.look(cache).value is None
        self.let_pass(0.4)
        assert cache.earlier("q") == b"1"
        assert cache.earlier("never") is None

    def test_a_value_computed_under_a_renewed_token_is_never_found(self, cache: QueryCache) -> None:
        before = self.look(cache)
        assert cache.renew(["a"])
        cache.keep("q", before, b"old", 60, 60)
        assert self.look(cache).value is None

    def test_a_value_depends_on_each_of_its_tokens_and_on_no_other(self, cache: QueryCache) -> None:
        for name in ("a", "b", "c"):
            found = self.look(cache, "q", "a", "b")
            cache.keep("q", found, b"1", 60, 60)
            assert cache.renew([name])
            assert (self.look(cache, "q", "a", "b").value is None) == (name != "c")

    def test_a_cleared_cache_holds_no_value_and_keeps_its_tokens(self, cache: QueryCache) -> None:
        first = self.mark(cache, "a")
        found = self.look(cache)
        for number in range(2_500):
            cache.keep(f"q{number}", found, b"1", 60, 60)
        assert cache.clear()
        some = [f"q{number}" for number in range(0, 2_500, 50)]
        assert all(self.look(cache, question).value is None for question in some)
        assert all(cache.earlier(question) is None for question in some)
        assert self.mark(cache, "a") == first

    def test_a_token_stays_the_same_until_it_is_renewed(self, cache: QueryCache) -> None:
        first = [self.mark(cache, "a"), self.mark(cache, "b"), self.mark(cache, "a", "b")]
        assert len(set(first)) == 3
        assert [self.mark(cache, "a"), self.mark(cache, "b"), self.mark(cache, "a", "b")] == first
        assert cache.renew(["a"])
        second = [self.mark(cache, "a"), self.mark(cache, "b"), self.mark(cache, "a", "b")]
        assert [old == new for old, new in zip(first, second, strict=True)] == [False, True, False]

    def test_renewing_never_brings_an_old_token_back(self, cache: QueryCache) -> None:
        seen = set()
        for _ in range(50):
            seen.add(self.mark(cache, "a"))
            assert cache.renew(["a"])
        assert len(seen) == 50

    def test_the_age_counts_from_the_renewal_of_the_youngest_token(self, cache: QueryCache) -> None:
        self.mark(cache, "a", "b")
        self.let_pass(0.3)
        aged = self.look(cache, "q", "a", "b")
        assert aged.age_s >= 0.29
        assert cache.renew(["b"])
        renewed = self.look(cache, "q", "a", "b")
        assert 0 <= renewed.age_s < aged.age_s
        assert self.look(cache, "q", "a").age_s >= 0.29
        assert self.look(cache, "q", "a", "new").age_s < 0.29

    def test_renewing_nothing_and_unknown_names_works(self, cache: QueryCache) -> None:
        assert cache.renew([])
        assert cache.renew(["never asked for"])

    @staticmethod
    def claim(cache: QueryCache, question: str = "q", claim_s: float = 60) -> Found:
        found = cache.find(question, ("a",), claim_s)
        assert found is not None
        return found

    def test_a_lease_is_held_by_one_until_it_is_given_back(self, cache: QueryCache) -> None:
        mine = self.claim(cache)
        assert mine.claim is not None
        theirs = self.claim(cache)
        assert (theirs.value, theirs.claim) == (None, None)
        assert self.claim(cache, "other").claim is not None
        cache.release("q", theirs)
        cache.release("q", Found(mine.mark, 0, None, "somebody else's"))
        assert self.claim(cache).claim is None
        cache.release("q", mine)
        assert self.claim(cache).claim is not None

    def test_who_keeps_a_value_gives_the_lease_back_even_if_it_is_not_kept(self, cache: QueryCache) -> None:
        mine = self.claim(cache)
        cache.keep("q", mine, b"1", 0, 60)
        mine = self.claim(cache)
        assert mine.claim is not None
        cache.keep("q", mine, b"1", 60, 60)
        assert cache.renew(["a"])
        assert self.claim(cache).claim is not None

    def test_a_lease_is_no_lease_for_the_answer_under_renewed_tokens(self, cache: QueryCache) -> None:
        old = self.claim(cache)
        assert cache.renew(["a"])
        new = self.claim(cache)
        assert new.claim is not None
        cache.release("q", old)
        assert self.claim(cache).claim is None

    def test_a_lease_ends_by_itself(self, cache: QueryCache) -> None:
        first = self.claim(cache, claim_s=0.2)
        self.let_pass(0.4)
        assert self.claim(cache).claim is not None
        cache.release("q", first)
        assert self.claim(cache).claim is None

    def test_of_many_threads_exactly_one_gets_the_lease(self, cache: QueryCache) -> None:
        barrier = threading.Barrier(8)

        def claim(_: int) -> bool:
            barrier.wait()
            return self.claim(cache).claim is not None

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(claim, range(8))) == 1

    def test_after_a_renewal_no_thread_sees_the_old_token(self, cache: QueryCache) -> None:
        """The promise that hides no write: renew has returned, so every later reader gets another token."""
        for _ in range(30):
            before = self.mark(cache, "a")
            with ThreadPoolExecutor(4) as threads:
                running = [threads.submit(self.mark, cache, "a") for _ in range(4)]
                assert cache.renew(["a"])
                after = [threads.submit(self.mark, cache, "a") for _ in range(4)]
            assert all(each.result() != before for each in after)
            assert len({each.result() for each in after}) == 1
            assert len(running) == 4

    def test_many_threads_never_read_a_value_of_another_question(self, cache: QueryCache) -> None:
        found = self.look(cache)

        def work(number: int) -> None:
            for turn in range(200):
                question = f"q{(number + turn) % 16}"
                cache.keep(question, found, question.encode(), 60, 60)
                assert self.look(cache, question).value in {None, question.encode()}

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
