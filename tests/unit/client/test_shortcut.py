import threading

from cutover.client.shortcut import Shortcut


def test_a_method_that_only_we_hold_is_in_no_other_hands() -> None:
    shortcut = Shortcut([].append)
    assert not shortcut.in_other_hands()


def test_a_method_that_was_kept_is_seen_until_it_is_let_go() -> None:
    shortcut = Shortcut([].append)
    kept = shortcut.method
    assert shortcut.in_other_hands()
    del kept
    assert not shortcut.in_other_hands()


def test_a_call_whose_arguments_are_still_being_computed_is_seen() -> None:
    target: list[int] = []
    shortcut = Shortcut(target.append)
    namespace = {"produce": shortcut.method}
    began, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        began.set()
        go_on.wait(60)
        return 1

    caller = threading.Thread(target=lambda: namespace["produce"](slow()))
    caller.start()
    assert began.wait(60)
    del namespace["produce"]
    assert shortcut.in_other_hands()
    go_on.set()
    caller.join(60)
    assert (shortcut.in_other_hands(), target) == (False, [1])
