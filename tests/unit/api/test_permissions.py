"""The table of permissions: what must never be in it."""

from itertools import chain

from deepseek_operator.api.permissions import MASTER_SECRET, ROLES

PODS_OF_THE_CHART = [name for name in ROLES if not name.startswith("user.")]


def test_secrets_are_out_of_reach_but_for_the_master_key() -> None:
    for name in PODS_OF_THE_CHART:
        for grant in ROLES[name]:
            if "secrets" in grant.resources:
                assert name == "operator.namespace"
                assert grant.verbs == ("create",) or grant.names == (MASTER_SECRET,)


def test_nothing_is_granted_wholesale_and_nobody_may_grant() -> None:
    for grant in chain.from_iterable(ROLES.values()):
        assert "*" not in (*grant.verbs, *grant.resources, grant.group)
        assert grant.group != "rbac.authorization.k8s.io"
        assert not {"impersonate", "escalate", "bind"} & set(grant.verbs)
        assert grant.reason


def test_a_specification_is_never_updated() -> None:
    for name in PODS_OF_THE_CHART:
        for grant in ROLES[name]:
            assert "update" not in grant.verbs or all(kind.endswith("/finalizers") for kind in grant.resources)
