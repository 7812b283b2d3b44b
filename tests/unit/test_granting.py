"""The rules of T are those that name S itself, and nothing that was there before is ever taken away with them."""

import json

from cutover.granting import copied, document, of_document
from cutover.model import Acl, Permission

READ = Acl("User:balances", "read", "topic", "orders")
DENY = Acl("User:intern", "write", "topic", "orders", Permission.DENY, host="10.0.0.1")
OTHERS = (
    Acl("User:all", "read", "topic", "ord", pattern="prefixed"),
    Acl("User:admin", "all", "topic", "*"),
    Acl("User:balances", "read", "group", "orders"),
    Acl("User:balances", "read", "topic", "orders.v1"),
)


def test_the_rules_that_name_the_source_hold_for_the_target_and_no_others() -> None:
    found = copied({READ, DENY, *OTHERS}, "orders", "orders.v2")
    assert found == {
        Acl("User:balances", "read", "topic", "orders.v2"),
        Acl("User:intern", "write", "topic", "orders.v2", Permission.DENY, host="10.0.0.1"),
    }


def test_a_rule_that_is_there_already_is_not_one_of_ours() -> None:
    assert copied({READ, Acl("User:balances", "read", "topic", "orders.v2")}, "orders", "orders.v2") == frozenset()


def test_rules_come_back_from_the_journal_as_they_were() -> None:
    rules = frozenset({READ, DENY, *OTHERS})
    assert of_document(json.loads(json.dumps(document(rules)))) == rules
