"""A price is said in full: what is read again, what is not known, the hold, and what is lost even if that is nothing."""

from cutover.prices import Price, together


def test_a_price_says_what_each_group_reads_again_and_what_is_lost() -> None:
    told = Price(("the writes go back",), {"mails": None, "balances": 1200}, frozenset({"balances"}), 0.06, ("5 records of s",))
    assert told.lines() == [
        "  the writes go back",
        "  balances reads 1,200 records again (it is live: as of now)",
        "  mails reads a number not known before it has stopped again",
        "  producers wait once, about 0.1 s, at most the budget of the hold",
        "  lost: 5 records of s",
    ]
    assert Price().lines() == ["  lost: nothing"]


def test_the_prices_of_several_steps_are_added_up() -> None:
    both = together([Price(("a",), {"g": 1}, hold_seconds=0.5), Price(("b",), {"h": None}, frozenset({"h"}), 0.25, ("x",))])
    assert both.document() == {
        "words": ["a", "b"],
        "read_again": {"g": 1, "h": None},
        "growing": ["h"],
        "hold_seconds": 0.75,
        "lost": ["x"],
    }
