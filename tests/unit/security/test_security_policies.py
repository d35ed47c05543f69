"""Access policies: who may do what, in which order they are asked, what is remembered and for how long."""

import pytest

from llmspell.errors import AccessDenied, AlreadyExists, InvalidArgument, RateLimited
from llmspell.security import (
    AccessPolicies,
    Allow,
    AllowWithFilters,
    Deny,
    FieldFilter,
    Grant,
    OwnerPolicy,
    SecurityContext,
    TenantPolicy,
    VectorPolicy,
    template,
)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Rule:
    def __init__(self, name, answer, priority=50):
        self.name, self.answer, self.priority, self.calls = name, answer, priority, 0

    def decide(self, ctx, operation, resource):
        self.calls += 1
        return self.answer() if callable(self.answer) else self.answer


LOCAL = SecurityContext(principal="local")
ACME = SecurityContext(principal="bot", tenant_id="acme")
ADMIN = SecurityContext(principal="root", roles=("admin",))


def standard(**options):
    return AccessPolicies([TenantPolicy(), OwnerPolicy()], **options)


def test_nobody_saying_yes_is_a_no():
    assert AccessPolicies().decide(LOCAL, "search", "global") == Deny("nobody says yes")
    assert AccessPolicies([Rule("mute", None)]).decide(LOCAL, "search", "global") == Deny("nobody says yes")


def test_a_principal_of_a_tenant_stays_in_it():
    access = standard()
    assert access.decide(ACME, "search", "tenant:acme/docs") == Allow()
    for other in (
        "tenant:ac/docs",
        "tenant:acme2/docs",
        "tenant:Acme/docs",
        "global/docs",
        "user:acme/docs",
        "tenant:",
    ):
        assert isinstance(access.decide(ACME, "search", other), Deny), other


def test_the_local_user_needs_a_role_for_tenants():
    access = standard()
    assert access.decide(LOCAL, "insert", "session:s/docs") == Allow()
    assert isinstance(access.decide(LOCAL, "search", "tenant:acme/docs"), Deny)
    assert access.decide(ADMIN, "search", "tenant:acme/docs") == Allow()


def test_foreign_and_unknown_tenants_are_refused_in_the_same_words():
    access = standard()
    told = []
    for tenant in ("real", "none"):
        with pytest.raises(AccessDenied) as caught:
            access.check(ACME, "search", f"tenant:{tenant}/docs")
        told.append((caught.value.message.replace(tenant, "X"), caught.value.details["reason"], caught.value.code))
    assert told[0] == told[1]


def test_the_first_denial_ends_and_lower_policies_are_not_asked():
    low, high = Rule("low", Allow(), 1), Rule("high", Deny("no"), 99)
    assert AccessPolicies([low, high]).decide(LOCAL, "search", "global") == Deny("no")
    assert (low.calls, high.calls) == (0, 1)


def test_filters_of_all_allowing_policies_are_joined():
    one = AllowWithFilters((FieldFilter(field="team", allowed_values=("a",)),))
    access = AccessPolicies([Rule("one", one), Rule("two", Allow()), Rule("three", lambda: AllowWithFilters([
        {"field": "secret", "allowed_values": [True], "exclude": True}]))])  # fmt: skip
    assert [item.spec() for item in access.check(LOCAL, "search", "global")] == [
        {"team": {"in": ["a"]}},
        {"secret": {"nin": [True]}},
    ]


@pytest.mark.parametrize("answer", [lambda: 1 / 0, "yes", True, AllowWithFilters(()), AllowWithFilters([{"x": 1}])])
def test_a_policy_that_fails_or_answers_nonsense_denies(answer):
    access = AccessPolicies([Rule("fine", Allow()), Rule("broken", answer)])
    assert isinstance(access.decide(LOCAL, "search", "global"), Deny)


def test_decisions_are_remembered_for_a_minute_and_by_the_whole_context():
    clock, rule = Clock(), Rule("counted", Allow())
    access = AccessPolicies([rule], clock=clock)
    for _ in range(5):
        access.decide(SecurityContext(principal="p", attributes={"a": 1, "b": 2}), "search", "global")
    access.decide(SecurityContext(principal="p", attributes={"b": 2, "a": 1}), "search", "global")
    assert rule.calls == 1
    for ctx, operation, resource in (
        (SecurityContext(principal="p", attributes={"a": 2, "b": 2}), "search", "global"),
        (SecurityContext(principal="p", attributes={"a": 1, "b": 2}, session_id="s"), "search", "global"),
        (SecurityContext(principal="p", attributes={"a": 1, "b": 2}), "delete", "global"),
        (SecurityContext(principal="p", attributes={"a": 1, "b": 2}), "search", "globa"),
    ):
        access.decide(ctx, operation, resource)
    assert rule.calls == 5
    clock.now += 60
    access.decide(SecurityContext(principal="p", attributes={"a": 1, "b": 2}), "search", "global")
    assert rule.calls == 6


def test_a_change_of_policies_or_tenants_takes_effect_on_the_next_call():
    access = standard()
    assert access.decide(LOCAL, "search", "global") == Allow()
    access.add(lambda ctx, operation, resource: Deny("closed"), name="closing")
    assert access.decide(LOCAL, "search", "global") == Deny("closed")
    assert access.remove("closing")
    assert not access.remove("closing")
    assert access.decide(LOCAL, "search", "global") == Allow()
    rule = Rule("counted", Allow())
    access.add(rule)
    access.decide(LOCAL, "search", "global")
    access.forget()
    access.decide(LOCAL, "search", "global")
    assert rule.calls == 2


def test_a_decision_made_while_policies_change_is_not_kept():
    access = standard()

    def slow(ctx, operation, resource):
        if any(item["name"] == "late" for item in access.list()):
            return Allow()
        access.add(lambda *_: Deny("late"), name="late")
        return Allow()

    access.add(slow, name="slow")
    assert access.decide(LOCAL, "search", "global") == Allow()
    assert access.decide(LOCAL, "search", "global") == Deny("late")


def test_policies_are_listed_by_priority_and_names_are_unique():
    access = standard()
    access.add(VectorPolicy({}))
    assert access.list() == [
        {"name": "tenant", "priority": 100},
        {"name": "vector", "priority": 10},
        {"name": "owner", "priority": 0},
    ]
    with pytest.raises(AlreadyExists):
        access.add(TenantPolicy())
    with pytest.raises(InvalidArgument):
        access.add(7)


def test_grants_hold_operations_tenants_and_a_deny_list():
    policy = VectorPolicy(
        {"reader": Grant(operations=("search",)), "one": Grant(tenants=("acme",))}, denied=["mallory"]
    )
    access = AccessPolicies([policy, Rule("fallback", None)])
    cases = {
        ("reader", "search", "global"): Allow(),
        ("reader", "delete", "global"): Deny("delete is not granted"),
        ("one", "insert", "tenant:acme/docs"): Allow(),
        ("one", "insert", "tenant:acme2/docs"): Deny("another tenant"),
        ("one", "insert", "global/docs"): Deny("another tenant"),
        ("mallory", "search", "global"): Deny("on the deny list"),
        ("stranger", "search", "global"): Deny("nobody says yes"),
    }
    for (principal, operation, resource), wanted in cases.items():
        assert access.decide(SecurityContext(principal=principal), operation, resource) == wanted
    with pytest.raises(InvalidArgument):
        VectorPolicy({"x": Grant(operations=("fly",))})


def test_the_rate_of_a_grant_holds_for_remembered_decisions():
    clock = Clock()
    access = AccessPolicies([VectorPolicy({"p": Grant(per_minute=3)}, clock=clock)], clock=clock)
    ctx = SecurityContext(principal="p")
    for _ in range(3):
        access.decide(ctx, "search", "global")
    with pytest.raises(RateLimited) as caught:
        access.decide(ctx, "search", "global")
    assert caught.value.retry_after_ms == 60_000
    clock.now += 60
    assert access.decide(ctx, "search", "global") == Allow()


def test_templates_make_policies_for_roles():
    access = AccessPolicies([template("read-only"), template("tenant", tenant="acme", role="staff"), template("admin")])
    reader, staff = (
        SecurityContext(principal="r", roles=("read-only",)),
        SecurityContext(principal="s", roles=("staff",)),
    )
    assert access.decide(reader, "search", "global") == Allow()
    assert isinstance(access.decide(reader, "delete", "global"), Deny)
    assert access.decide(staff, "delete", "tenant:acme/docs") == Allow()
    assert isinstance(access.decide(staff, "delete", "tenant:acm/docs"), Deny)
    assert access.decide(ADMIN, "delete", "global") == Allow()
    for kind, settings in (("nothing", {}), ("tenant", {}), ("admin", {"tenant": "a"})):
        with pytest.raises(InvalidArgument):
            template(kind, **settings)
